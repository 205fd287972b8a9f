//! Statements: text, output and tags.

use std::sync::Arc;

use super::{MAX_LOOPS, Parsed, Parser, syntax};
use crate::template::{
    ast::{Body, Expr, For, Macro, Node, Statement, Target, Text},
    lexer::Token,
};

impl Parser {
    /// Statements up to a tag with one of the names `ends`, and that name; up to the end of the template if there is none.
    pub(super) fn body(&mut self, ends: &[&str]) -> Parsed<(Body, Text)> {
        let mut body = Body::default();
        loop {
            let line = self.line();
            let statement = match self.token() {
                Token::Data(text) => {
                    let text = text.clone();
                    self.advance();
                    Statement::Data(text)
                }
                Token::VariableBegin => {
                    self.advance();
                    let value = self.tuple(true)?;
                    self.expect(&Token::VariableEnd, "`}}`")?;
                    Statement::Print(value)
                }
                Token::BlockBegin => {
                    self.advance();
                    let Token::Name(name) = self.token() else { return self.unexpected("the name of a tag") };
                    let name = name.clone();
                    if ends.contains(&&*name) {
                        self.advance();
                        return Ok((body, name));
                    }
                    self.advance();
                    let line = self.line();
                    let statements = self.nested(|parser| parser.statement(&name))?;
                    self.expect(&Token::BlockEnd, "`%}`")?;
                    body.nodes.extend(statements.into_iter().map(|statement| Node { line, statement }));
                    continue;
                }
                Token::End if ends.is_empty() => return Ok((body, "".into())),
                _ => return self.unexpected(&format!("`{{% {} %}}`", ends.join(" %}` or `{% "))),
            };
            body.nodes.push(Node { line, statement });
        }
    }

    /// The rest of an opening tag, and statements up to one of the `ends`.
    fn block(&mut self, ends: &[&str]) -> Parsed<(Body, Text)> {
        self.skip_operator(":");
        self.expect(&Token::BlockEnd, "`%}`")?;
        self.body(ends)
    }

    /// The same inside a function of its own, in which no outer loop can be left.
    fn function(&mut self, end: &str) -> Parsed<Body> {
        self.loops.push(0);
        let body = self.block(&[end])?.0;
        self.loops.pop();
        Ok(body)
    }

    fn statement(&mut self, name: &str) -> Parsed<Vec<Statement>> {
        let one = match name {
            "for" => self.for_loop()?,
            "if" => self.condition()?,
            "set" => self.set()?,
            "with" => self.with()?,
            "print" => return self.print(),
            "macro" => {
                let name = self.any_name()?;
                Statement::Macro(Arc::new(self.macro_of(Some(name), "endmacro")?))
            }
            "call" => self.call_block()?,
            "filter" => {
                let filter = self.filter_named(None)?;
                let filter = self.filters(Some(filter))?;
                Statement::FilterBlock { filter, body: self.block(&["endfilter"])?.0 }
            }
            "generation" => Statement::Generation(self.function("endgeneration")?),
            "break" | "continue" => {
                if self.loops.last() == Some(&0) {
                    return syntax(format!("`{name}` outside a loop"));
                }
                if name == "break" { Statement::Break } else { Statement::Continue }
            }
            "include" | "import" | "from" | "extends" => {
                self.skip_tag();
                Statement::Unsupported("a template that reads other templates")
            }
            "block" => {
                self.any_name()?;
                while self.skip_name("scoped") || self.skip_name("required") {}
                self.block(&["endblock"])?;
                if matches!(self.token(), Token::Name(_)) {
                    self.advance();
                }
                Statement::Unsupported("the tag `block`")
            }
            "autoescape" => {
                self.expression()?;
                self.block(&["endautoescape"])?;
                Statement::Unsupported("the tag `autoescape`")
            }
            other => return syntax(format!("unknown tag `{other}`")),
        };
        Ok(vec![one])
    }

    /// Moves to the end of a tag whose words do not matter.
    fn skip_tag(&mut self) {
        while !matches!(self.token(), Token::BlockEnd | Token::End) {
            self.advance();
        }
    }

    fn print(&mut self) -> Parsed<Vec<Statement>> {
        let mut values = Vec::new();
        while *self.token() != Token::BlockEnd {
            if !values.is_empty() {
                self.expect_operator(",")?;
            }
            values.push(Statement::Print(self.expression()?));
        }
        Ok(values)
    }

    fn for_loop(&mut self) -> Parsed<Statement> {
        let target = self.target(false)?;
        if target.names().any(|name| name == "loop") {
            return syntax("can't assign to the special variable `loop`");
        }
        self.expect_name("in")?;
        let items = self.tuple(false)?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        let open = self.loops.last_mut().expect("the template is open");
        *open += 1;
        if *open > MAX_LOOPS {
            return syntax("too many loops in one another");
        }
        let (body, end) = self.block(&["endfor", "else"])?;
        *self.loops.last_mut().expect("the template is open") -= 1;
        let otherwise = if &*end == "else" { self.block(&["endfor"])?.0 } else { Body::default() };
        Ok(Statement::For(Arc::new(For { target, items, test, recursive, body, otherwise })))
    }

    fn condition(&mut self) -> Parsed<Statement> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false)?;
            let (body, end) = self.block(&["elif", "else", "endif"])?;
            branches.push((test, body));
            let otherwise = match &*end {
                "elif" => continue,
                "else" => self.block(&["endif"])?.0,
                _ => Body::default(),
            };
            return Ok(Statement::If { branches, otherwise });
        }
    }

    fn set(&mut self) -> Parsed<Statement> {
        let target = self.target(true)?;
        if self.skip_operator("=") {
            return Ok(Statement::Set(target, self.tuple(true)?));
        }
        let filter = if self.is_operator("|") { Some(self.filters(None)?) } else { None };
        Ok(Statement::SetBlock { target, filter, body: self.block(&["endset"])?.0 })
    }

    fn with(&mut self) -> Parsed<Statement> {
        let mut values = Vec::new();
        while *self.token() != Token::BlockEnd {
            if !values.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.target(false)?;
            self.expect_operator("=")?;
            values.push((target, self.expression()?));
        }
        Ok(Statement::With { values, body: self.block(&["endwith"])?.0 })
    }

    fn call_block(&mut self) -> Parsed<Statement> {
        let parameters = if self.is_operator("(") { self.signature()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call, Expr::Call(..)) {
            return syntax("expected a call");
        }
        let caller = self.macro_with(None, parameters, "endcall")?;
        Ok(Statement::CallBlock { caller: Arc::new(caller), call })
    }

    fn signature(&mut self) -> Parsed<Vec<(Text, Option<Expr>)>> {
        let mut parameters: Vec<(Text, Option<Expr>)> = Vec::new();
        self.expect_operator("(")?;
        while !self.is_operator(")") {
            if !parameters.is_empty() {
                self.expect_operator(",")?;
            }
            let name = self.any_name()?;
            if is_constant(&name) {
                return syntax(format!("can't assign to `{name}`"));
            }
            if parameters.iter().any(|(other, _)| *other == name) {
                return syntax(format!("the parameter `{name}` is there twice"));
            }
            let default = if self.skip_operator("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return syntax("a parameter without a default follows one with a default");
            }
            parameters.push((name, default));
        }
        self.expect_operator(")")?;
        Ok(parameters)
    }

    fn macro_of(&mut self, name: Option<Text>, end: &str) -> Parsed<Macro> {
        let parameters = self.signature()?;
        self.macro_with(name, parameters, end)
    }

    fn macro_with(
        &mut self,
        name: Option<Text>,
        parameters: Vec<(Text, Option<Expr>)>,
        end: &str,
    ) -> Parsed<Macro> {
        let start = self.at;
        let body = self.function(end)?;
        let reads = |name: &str| {
            let named = |token: &(Token, u32)| matches!(&token.0, Token::Name(found) if **found == *name);
            // An attribute or a keyword of that name is none, but that is for those who call to notice.
            self.tokens[start..self.at].iter().any(named)
        };
        let is_parameter = |name: &str| parameters.iter().any(|(parameter, _)| **parameter == *name);
        if reads("caller")
            && parameters.iter().any(|(name, default)| &**name == "caller" && default.is_none())
        {
            return syntax("the special parameter `caller` must be omitted or have a default");
        }
        let [caller, kwargs, varargs] =
            ["caller", "kwargs", "varargs"].map(|name| reads(name) && !is_parameter(name));
        Ok(Macro { name, parameters, caller, kwargs, varargs, body })
    }

    /// The target of an assignment: a name, several, and an attribute if that is allowed.
    fn target(&mut self, with_namespace: bool) -> Parsed<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if is_tuple && (self.is_tuple_end() || targets.is_empty()) {
                break;
            }
            let primary = self.primary(with_namespace)?;
            targets.push(target_of(primary)?);
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        match targets.pop() {
            Some(target) if !is_tuple => Ok(target),
            last => Ok(Target::Tuple(targets.into_iter().chain(last).collect())),
        }
    }

    pub(super) fn is_tuple_end(&self) -> bool {
        matches!(self.token(), Token::VariableEnd | Token::BlockEnd) || self.is_operator(")")
    }
}

/// True if a name means a constant.
fn is_constant(name: &str) -> bool {
    matches!(name, "true" | "True" | "false" | "False" | "none" | "None")
}

fn target_of(expr: Expr) -> Parsed<Target> {
    Ok(match expr {
        Expr::Name(name) => Target::Name(name),
        Expr::NamespaceRef(name, attribute) => Target::Attribute(name, attribute),
        Expr::Tuple(items) => Target::Tuple(items.into_iter().map(target_of).collect::<Parsed<_>>()?),
        _ => return syntax("can't assign to an expression"),
    })
}

impl Target {
    /// The names that it assigns.
    pub fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Name(name) => Box::new(std::iter::once(&**name)),
            Self::Attribute(..) => Box::new(std::iter::empty()),
            Self::Tuple(targets) => Box::new(targets.iter().flat_map(Self::names)),
        }
    }
}
