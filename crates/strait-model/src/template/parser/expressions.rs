//! Expressions: operators by their precedence, postfix operators, arguments.

use super::{Parsed, Parser, syntax};
use crate::template::{
    ast::{Arguments, Comparison, Expr, Operator, Text},
    lexer::Token,
};

impl Parser {
    /// An expression, or several with commas between them.
    pub(super) fn tuple(&mut self, conditional: bool) -> Parsed<Expr> {
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

    pub(super) fn expression(&mut self) -> Parsed<Expr> {
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

    pub(super) fn primary(&mut self, with_namespace: bool) -> Parsed<Expr> {
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

    /// The rest after `[`.
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

    pub(super) fn arguments(&mut self) -> Parsed<Arguments> {
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
    pub(super) fn filters(&mut self, mut expr: Option<Expr>) -> Parsed<Expr> {
        while self.skip_operator("|") {
            expr = Some(self.filter_named(expr)?);
        }
        match expr {
            Some(expr) => Ok(expr),
            None => self.unexpected("a filter"),
        }
    }

    pub(super) fn filter_named(&mut self, of: Option<Expr>) -> Parsed<Expr> {
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
