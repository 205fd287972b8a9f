//! From tokens to a tree, as Jinja2 parses them.

mod expressions;
mod statements;

use super::{
    ast::{Body, Text},
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

/// The result of parsing a piece.
type Parsed<T> = Result<T, Fault>;

/// The reason for which a source is no template.
#[derive(Debug, PartialEq)]
pub enum ParseError {
    /// A fault of the source.
    Fault(Fault),
    /// A tag of more than [`MAX_TOKENS`] tokens.
    TooLong,
}

/// A template's statements.
///
/// # Errors
/// With the line of what cannot be read.
pub fn parse(source: &str) -> Result<Body, (ParseError, u32)> {
    let tokens = lexer::tokens(source).map_err(|(fault, line)| (ParseError::Fault(fault), line))?;
    let mut length = 0;
    for (token, line) in &tokens {
        length = if matches!(token, Token::VariableBegin | Token::BlockBegin) { 0 } else { length + 1 };
        if length > MAX_TOKENS {
            return Err((ParseError::TooLong, *line));
        }
    }
    let mut parser = Parser { tokens, at: 0, depth: 0, loops: vec![0] };
    let (mut body, _) = parser.body(&[]).map_err(|fault| (ParseError::Fault(fault), parser.line()))?;
    symbols::resolve(&mut body).map_err(|(fault, line)| (ParseError::Fault(fault), line))?;
    Ok(body)
}

fn syntax<T>(why: impl Into<String>) -> Parsed<T> {
    Err(Fault::Syntax(why.into()))
}

struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    depth: usize,
    /// The number of open loops in each function that is open: the template, macros and the like.
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
}
