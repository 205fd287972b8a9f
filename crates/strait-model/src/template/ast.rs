//! A template as a tree.

use std::sync::Arc;

/// A name or text that nodes and values share.
pub type Text = Arc<str>;

/// The part between two tags.
#[derive(Debug, Default)]
pub struct Body {
    pub nodes: Vec<Node>,
    /// Names of the template's variables that a scope of this body hides.
    pub unset: Vec<Text>,
}

/// A statement and the line, counted from 1, in which it begins.
#[derive(Debug)]
pub struct Node {
    pub line: u32,
    pub statement: Statement,
}

#[derive(Debug)]
pub enum Statement {
    /// Text of the template itself.
    Data(Text),
    Print(Expr),
    For(Arc<For>),
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Body,
    },
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Body,
    },
    With {
        values: Vec<(Target, Expr)>,
        body: Body,
    },
    FilterBlock {
        filter: Expr,
        body: Body,
    },
    Macro(Arc<Macro>),
    /// A call whose `caller` is the body.
    CallBlock {
        caller: Arc<Macro>,
        call: Expr,
    },
    /// Prints its body; its assignments stay inside.
    Generation(Body),
    Break,
    Continue,
    /// A tag that is Jinja2's and is not carried out.
    Unsupported(&'static str),
}

#[derive(Debug)]
pub struct For {
    pub target: Target,
    pub items: Expr,
    pub test: Option<Expr>,
    pub recursive: bool,
    pub body: Body,
    pub otherwise: Body,
}

#[derive(Debug)]
pub struct Macro {
    pub name: Option<Text>,
    /// Names, and the values of those that need not be given.
    pub parameters: Vec<(Text, Option<Expr>)>,
    /// The special names that the body reads.
    pub caller: bool,
    pub kwargs: bool,
    pub varargs: bool,
    pub body: Body,
}

/// The target of an assignment.
#[derive(Debug)]
pub enum Target {
    Name(Text),
    /// An attribute of a namespace.
    Attribute(Text, Text),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    Name(Text),
    /// `name.attribute`, where an assignment may go.
    NamespaceRef(Text, Text),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Conditional {
        test: Box<Expr>,
        then: Box<Expr>,
        otherwise: Option<Box<Expr>>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Attribute(Box<Expr>, Text),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Box<Arguments>),
    /// Of the value before `|`; of a block's text where there is none.
    Filter(Option<Box<Expr>>, Text, Box<Arguments>),
    Test(Box<Expr>, Text, Box<Arguments>),
}

#[derive(Debug, Default)]
pub struct Arguments {
    pub positional: Vec<Expr>,
    pub named: Vec<(Text, Expr)>,
    /// After `*`.
    pub more: Option<Expr>,
    /// After `**`.
    pub more_named: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

impl Operator {
    /// As Python writes it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Modulo => "%",
            Self::Power => "**",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
