//! From tokens to a tree, as Jinja2 parses them.

use std::sync::Arc;

use super::{
    ast::{Arguments, Body, Comparison, Expr, For, Macro, Node, Operator, Statement, Target, Text},
    fault::Fault,
    lexer::{self, Token},
    symbols,
};

/// Most tokens of one tag; long ones in use have a hundred.
pub const MAX_TOKENS: usize = 1_000;
/// Deepest nesting of expressions and of statements; Python's own compiler stops at a hundred.
const MAX_DEPTH: usize = 100;
/// Python's compiler takes no more loops in one another.
const MAX_LOOPS: usize = 20;

/// What parsing a piece gives.
type Parsed<T> = Result<T, Fault>;

/// Why a source is no template.
#[derive(Debug, PartialEq)]
pub enum Wrong {
    /// What is wrong.
    Fault(Fault),
    /// A tag of more than [`MAX_TOKENS`] tokens.
    TooLong,
}

/// A template's statements.
///
/// # Errors
/// With the line of what cannot be read.
pub fn parse(source: &str) -> Result<Body, (Wrong, u32)> {
    let tokens = lexer::tokens(source).map_err(|(fault, line)| (Wrong::Fault(fault), line))?;
    let mut length = 0;
    for (token, line) in &tokens {
        length = if matches!(token, Token::VariableBegin | Token::BlockBegin) { 0 } else { length + 1 };
        if length > MAX_TOKENS {
            return Err((Wrong::TooLong, *line));
        }
    }
    let mut parser = Parser { tokens, at: 0, depth: 0, loops: vec![0] };
    let (mut body, _) = parser.body(&[]).map_err(|fault| (Wrong::Fault(fault), parser.line()))?;
    symbols::resolve(&mut body).map_err(|(fault, line)| (Wrong::Fault(fault), line))?;
    Ok(body)
}

fn syntax<T>(why: impl Into<String>) -> Parsed<T> {
    Err(Fault::Syntax(why.into()))
}

struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    depth: usize,
    /// How many loops are open in each function that is open: the template, macros and the like.
    loops: Vec<usize>,
}

impl Parser {
    fn token(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    fn look(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn advance(&mut self) -> Token {
        let token = self.token().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is_operator(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Operator(found) if *found == sign)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.token(), Token::Name(found) if **found == *name)
    }

    fn skip_operator(&mut self, sign: &str) -> bool {
        let found = self.is_operator(sign);
        if found {
            self.advance();
        }
        found
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.advance();
        }
        found
    }

    fn expect_operator(&mut self, sign: &str) -> Parsed<()> {
        if self.skip_operator(sign) { Ok(()) } else { self.unexpected(&format!("`{sign}`")) }
    }

    fn expect_name(&mut self, name: &str) -> Parsed<()> {
        if self.skip_name(name) { Ok(()) } else { self.unexpected(&format!("`{name}`")) }
    }

    fn expect(&mut self, token: &Token, words: &str) -> Parsed<()> {
        if self.token() != token {
            return self.unexpected(words);
        }
        self.advance();
        Ok(())
    }

    fn any_name(&mut self) -> Parsed<Text> {
        match self.token() {
            Token::Name(name) => {
                let name = name.clone();
                self.advance();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let found = match self.token() {
            Token::Data(_) => "text".into(),
            Token::VariableBegin => "`{{`".into(),
            Token::VariableEnd => "`}}`".into(),
            Token::BlockBegin => "`{%`".into(),
            Token::BlockEnd => "`%}`".into(),
            Token::Name(name) => format!("`{name}`"),
            Token::Str(_) => "a text".into(),
            Token::Int(number) => format!("`{number}`"),
            Token::Float(number) => format!("`{number}`"),
            Token::Operator(sign) => format!("`{sign}`"),
            Token::End => "the end of the template".into(),
        };
        syntax(format!("unexpected {found}, expected {expected}"))
    }

    /// Carries out a part that may hold itself, down to [`MAX_DEPTH`].
    fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return syntax("nested too deep");
        }
        let result = part(self);
        self.depth -= 1;
        result
    }

    /// Statements up to a tag with one of the names `ends`, and that name; up to the end of the template if there is none.
    fn body(&mut self, ends: &[&str]) -> Parsed<(Body, Text)> {
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

    /// Where an assignment goes: a name, several, and an attribute if that is allowed.
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

    fn is_tuple_end(&self) -> bool {
        matches!(self.token(), Token::VariableEnd | Token::BlockEnd) || self.is_operator(")")
    }

    /// An expression, or several with commas between them.
    fn tuple(&mut self, conditional: bool) -> Parsed<Expr> {
        let (mut items, is_tuple) = self.items(conditional)?;
        match items.pop() {
            Some(item) if !is_tuple => Ok(item),
            None => self.unexpected("an expression"),
            last => Ok(Expr::Tuple(items.into_iter().chain(last).collect())),
        }
    }

    fn items(&mut self, conditional: bool) -> Parsed<(Vec<Expr>, bool)> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if is_tuple {
                self.expect_operator(",")?;
            }
            if self.is_tuple_end() {
                break;
            }
            items.push(if conditional { self.expression()? } else { self.nested(Self::or)? });
            if !self.is_operator(",") {
                break;
            }
            is_tuple = true;
        }
        Ok((items, is_tuple))
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let mut expr = parser.or()?;
            while parser.skip_name("if") {
                let test = Box::new(parser.or()?);
                let otherwise =
                    if parser.skip_name("else") { Some(Box::new(parser.expression()?)) } else { None };
                expr = Expr::Conditional { test, then: Box::new(expr), otherwise };
            }
            Ok(expr)
        })
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut left = self.and()?;
        while self.skip_name("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut left = self.not()?;
        while self.skip_name("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expr> {
        if self.skip_name("not") {
            return Ok(Expr::Not(Box::new(self.nested(Self::not)?)));
        }
        self.compare()
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let comparison = match self.token() {
                Token::Operator("==") => Comparison::Equal,
                Token::Operator("!=") => Comparison::NotEqual,
                Token::Operator("<") => Comparison::Less,
                Token::Operator("<=") => Comparison::LessOrEqual,
                Token::Operator(">") => Comparison::Greater,
                Token::Operator(">=") => Comparison::GreaterOrEqual,
                Token::Name(name) if &**name == "in" => Comparison::In,
                Token::Name(name)
                    if &**name == "not" && matches!(self.look(), Token::Name(name) if &**name == "in") =>
                {
                    self.advance();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.advance();
            others.push((comparison, self.sum()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Compare(Box::new(first), others) })
    }

    /// Operands of operators that bind alike, from the left.
    fn operands(
        &mut self,
        operators: &[(&str, Operator)],
        operand: impl Fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let mut left = operand(self)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.is_operator(sign)) {
            self.advance();
            left = Expr::Binary(*operator, Box::new(left), Box::new(operand(self)?));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.operands(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::concat)
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let first = self.product()?;
        if !self.is_operator("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Parsed<Expr> {
        let operators = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        self.operands(&operators, Self::power)
    }

    fn power(&mut self) -> Parsed<Expr> {
        self.operands(&[("**", Operator::Power)], |parser| parser.unary(true))
    }

    fn unary(&mut self, with_filter: bool) -> Parsed<Expr> {
        let expr = if self.skip_operator("-") {
            Expr::Negative(Box::new(self.nested(|parser| parser.unary(false))?))
        } else if self.skip_operator("+") {
            Expr::Positive(Box::new(self.nested(|parser| parser.unary(false))?))
        } else {
            self.primary(false)?
        };
        let expr = self.postfix(expr)?;
        if with_filter { self.filters_and_tests(expr) } else { Ok(expr) }
    }

    fn primary(&mut self, with_namespace: bool) -> Parsed<Expr> {
        match self.token().clone() {
            Token::Name(name) => {
                self.advance();
                Ok(match &*name {
                    "true" | "True" => Expr::Bool(true),
                    "false" | "False" => Expr::Bool(false),
                    "none" | "None" => Expr::None,
                    _ if with_namespace && self.skip_operator(".") => {
                        Expr::NamespaceRef(name, self.any_name()?)
                    }
                    _ => Expr::Name(name),
                })
            }
            Token::Str(first) => {
                self.advance();
                let Token::Str(_) = self.token() else { return Ok(Expr::Str(first)) };
                let mut text = first.to_string();
                while let Token::Str(next) = self.token() {
                    text.push_str(next);
                    self.advance();
                }
                Ok(Expr::Str(text.into()))
            }
            Token::Int(number) => {
                self.advance();
                Ok(Expr::Int(number))
            }
            Token::Float(number) => {
                self.advance();
                Ok(Expr::Float(number))
            }
            Token::Operator("(") => {
                self.advance();
                let (mut items, is_tuple) = self.items(true)?;
                self.expect_operator(")")?;
                match items.pop() {
                    Some(item) if !is_tuple => Ok(item),
                    last => Ok(Expr::Tuple(items.into_iter().chain(last).collect())),
                }
            }
            Token::Operator("[") => {
                self.advance();
                let mut items = Vec::new();
                while !self.is_operator("]") {
                    if !items.is_empty() {
                        self.expect_operator(",")?;
                        if self.is_operator("]") {
                            break;
                        }
                    }
                    items.push(self.expression()?);
                }
                self.advance();
                Ok(Expr::List(items))
            }
            Token::Operator("{") => {
                self.advance();
                let mut items = Vec::new();
                while !self.is_operator("}") {
                    if !items.is_empty() {
                        self.expect_operator(",")?;
                        if self.is_operator("}") {
                            break;
                        }
                    }
                    let key = self.expression()?;
                    self.expect_operator(":")?;
                    items.push((key, self.expression()?));
                }
                self.advance();
                Ok(Expr::Dict(items))
            }
            _ => self.unexpected("an expression"),
        }
    }

    fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            expr = if self.skip_operator(".") {
                match self.advance() {
                    Token::Name(name) => Expr::Attribute(Box::new(expr), name),
                    Token::Int(index) => Expr::Item(Box::new(expr), Box::new(Expr::Int(index))),
                    _ => return syntax("expected a name or number after `.`"),
                }
            } else if self.skip_operator("[") {
                self.subscript(expr)?
            } else if self.is_operator("(") {
                Expr::Call(Box::new(expr), Box::new(self.arguments()?))
            } else {
                return Ok(expr);
            };
        }
    }

    /// What follows `[`.
    fn subscript(&mut self, of: Expr) -> Parsed<Expr> {
        let start = if self.is_operator(":") { None } else { Some(Box::new(self.expression()?)) };
        if !self.skip_operator(":") {
            let mut keys = vec![*start.expect("there is no colon")];
            let mut is_tuple = false;
            while self.skip_operator(",") {
                is_tuple = true;
                if self.is_operator("]") {
                    return syntax("unexpected `]`, expected an expression");
                }
                keys.push(self.expression()?);
            }
            self.expect_operator("]")?;
            let key = match keys.pop() {
                Some(key) if !is_tuple => key,
                last => Expr::Tuple(keys.into_iter().chain(last).collect()),
            };
            return Ok(Expr::Item(Box::new(of), Box::new(key)));
        }
        let bound = |parser: &mut Self| -> Parsed<Option<Box<Expr>>> {
            let is_empty = [":", "]", ","].iter().any(|sign| parser.is_operator(sign));
            if is_empty { Ok(None) } else { Ok(Some(Box::new(parser.expression()?))) }
        };
        let stop = bound(self)?;
        let step = if self.skip_operator(":") { bound(self)? } else { None };
        self.expect_operator("]")?;
        Ok(Expr::Slice(Box::new(of), [start, stop, step]))
    }

    fn arguments(&mut self) -> Parsed<Arguments> {
        self.expect_operator("(")?;
        let mut arguments = Arguments::default();
        let mut is_first = true;
        while !self.is_operator(")") {
            if !is_first {
                self.expect_operator(",")?;
                if self.is_operator(")") {
                    break;
                }
            }
            is_first = false;
            let follows_more = arguments.more.is_some();
            let follows_more_named = arguments.more_named.is_some();
            let wrong = if self.skip_operator("*") {
                arguments.more = Some(self.expression()?);
                follows_more || follows_more_named
            } else if self.skip_operator("**") {
                arguments.more_named = Some(self.expression()?);
                follows_more_named
            } else if let (Token::Name(name), Token::Operator("=")) = (self.token().clone(), self.look()) {
                self.advance();
                self.advance();
                let twice = arguments.named.iter().any(|(other, _)| *other == name);
                arguments.named.push((name, self.expression()?));
                follows_more_named || twice
            } else {
                arguments.positional.push(self.expression()?);
                follows_more || follows_more_named || !arguments.named.is_empty()
            };
            if wrong {
                return syntax("invalid arguments of a call");
            }
        }
        self.expect_operator(")")?;
        Ok(arguments)
    }

    fn filters_and_tests(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            expr = if self.is_operator("|") {
                self.filters(Some(expr))?
            } else if self.is_name("is") {
                self.advance();
                self.test(expr)?
            } else if self.is_operator("(") {
                Expr::Call(Box::new(expr), Box::new(self.arguments()?))
            } else {
                return Ok(expr);
            };
        }
    }

    /// The filters that follow.
    fn filters(&mut self, mut expr: Option<Expr>) -> Parsed<Expr> {
        while self.skip_operator("|") {
            expr = Some(self.filter_named(expr)?);
        }
        match expr {
            Some(expr) => Ok(expr),
            None => self.unexpected("a filter"),
        }
    }

    fn filter_named(&mut self, of: Option<Expr>) -> Parsed<Expr> {
        let name = self.dotted_name()?;
        let arguments = if self.is_operator("(") { self.arguments()? } else { Arguments::default() };
        Ok(Expr::Filter(of.map(Box::new), name, Box::new(arguments)))
    }

    fn dotted_name(&mut self) -> Parsed<Text> {
        let mut name = self.any_name()?;
        while self.skip_operator(".") {
            name = format!("{name}.{}", self.any_name()?).into();
        }
        Ok(name)
    }

    fn test(&mut self, of: Expr) -> Parsed<Expr> {
        let is_negative = self.skip_name("not");
        let name = self.dotted_name()?;
        let has_operand = match self.token() {
            Token::Name(word) => !matches!(&**word, "else" | "or" | "and"),
            Token::Str(_) | Token::Int(_) | Token::Float(_) => true,
            _ => self.is_operator("[") || self.is_operator("{"),
        };
        let arguments = if self.is_operator("(") {
            self.arguments()?
        } else if self.is_name("is") {
            return syntax("tests cannot be chained with `is`");
        } else if has_operand {
            let operand = self.primary(false)?;
            Arguments { positional: vec![self.postfix(operand)?], ..Arguments::default() }
        } else {
            Arguments::default()
        };
        let test = Expr::Test(Box::new(of), name, Box::new(arguments));
        Ok(if is_negative { Expr::Not(Box::new(test)) } else { test })
    }
}

/// Whether a name means a constant.
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
