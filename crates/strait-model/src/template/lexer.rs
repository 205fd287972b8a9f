//! From a template's source to tokens, with Jinja2's rules for line ends and for whitespace around tags: `trim_blocks` and
//! `lstrip_blocks` are on, one newline at the end is dropped.

mod literals;

use super::{ast::Text, fault::Fault, unicode::is_space};
use literals::{number, string};

/// Operators, the longer before those that they begin with.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Data(Text),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Text),
    Str(Text),
    Int(i128),
    Float(f64),
    Operator(&'static str),
    End,
}

/// A source's tokens with their lines, counted from 1; the last is [`Token::End`].
///
/// # Errors
/// With the line of what is no token.
pub fn tokens(source: &str) -> Result<Vec<(Token, u32)>, (Fault, u32)> {
    let source = with_newlines(source);
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, line_starting: true, tokens: Vec::new() };
    match lexer.text() {
        Ok(()) => {
            lexer.tokens.push((Token::End, lexer.line));
            Ok(lexer.tokens)
        }
        Err(fault) => Err((fault, lexer.line)),
    }
}

/// A text with every line end as `\n`.
fn with_newlines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn syntax<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Syntax(why.into()))
}

/// The kinds of tags.
#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Block,
    Variable,
    Comment,
}

impl Tag {
    fn close(self) -> &'static str {
        match self {
            Self::Block => "%}",
            Self::Variable => "}}",
            Self::Comment => "#}",
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// True if the last match ended a line.
    line_starting: bool,
    tokens: Vec<(Token, u32)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Moves over matched text.
    fn pass(&mut self, length: usize) {
        let passed = &self.source[self.at..self.at + length];
        self.line += passed.matches('\n').count() as u32;
        self.line_starting = passed.ends_with('\n');
        self.at += length;
    }

    fn pass_spaces(&mut self) {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches(is_space).len();
        if length > 0 {
            self.pass(length);
        }
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    /// Text and tags up to the end.
    fn text(&mut self) -> Result<(), Fault> {
        while let Some((start, tag)) = self.next_tag() {
            let opening = &self.source[start..];
            let sign = opening[2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let raw = if tag == Tag::Block { raw_begin(opening) } else { None };
            self.data(start, tag, sign);
            if let Some(length) = raw {
                self.pass(length);
                self.raw()?;
                continue;
            }
            self.pass(2 + sign.map_or(0, char::len_utf8));
            match tag {
                Tag::Comment => self.comment()?,
                Tag::Variable => {
                    self.push(Token::VariableBegin);
                    self.inside(tag)?;
                }
                Tag::Block => {
                    self.push(Token::BlockBegin);
                    self.inside(tag)?;
                }
            }
        }
        let rest = self.rest();
        if !rest.is_empty() {
            self.push(Token::Data(rest.into()));
            self.pass(rest.len());
        }
        Ok(())
    }

    /// The place and kind of the next tag.
    fn next_tag(&self) -> Option<(usize, Tag)> {
        let mut from = self.at;
        loop {
            let start = from + self.source[from..].find('{')?;
            let tag = match self.source.as_bytes().get(start + 1) {
                Some(b'%') => Tag::Block,
                Some(b'{') => Tag::Variable,
                Some(b'#') => Tag::Comment,
                _ => {
                    from = start + 1;
                    continue;
                }
            };
            return Some((start, tag));
        }
    }

    /// The text before a tag, without the blanks that the tag strips from it.
    fn data(&mut self, end: usize, tag: Tag, sign: Option<char>) {
        let text = &self.source[self.at..end];
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            None if tag != Tag::Variable => self.without_indentation(text),
            _ => text,
        };
        if !kept.is_empty() {
            self.push(Token::Data(kept.into()));
        }
        // An empty text leaves `line_starting` as it was.
        if !text.is_empty() {
            self.pass(text.len());
        }
    }

    /// A text without the whitespace between its last line's beginning and its end, if nothing else stands there.
    fn without_indentation<'t>(&self, text: &'t str) -> &'t str {
        let start = text.rfind('\n').map_or(0, |at| at + 1);
        if (start > 0 || self.line_starting) && text[start..].chars().all(is_space) {
            &text[..start]
        } else {
            text
        }
    }

    fn comment(&mut self) -> Result<(), Fault> {
        if self.rest().is_empty() {
            return Ok(());
        }
        let Some(length) = self.rest().find("#}") else { return syntax("missing end of comment tag") };
        let sign = self.rest()[..length].chars().next_back().filter(|c| matches!(c, '-' | '+'));
        self.pass(length);
        self.close(Tag::Comment, sign);
        Ok(())
    }

    /// Moves over the end of a tag and the blanks that it strips after it; `sign` stands just before it.
    fn close(&mut self, tag: Tag, sign: Option<char>) {
        self.pass(tag.close().len());
        match sign {
            Some('-') => self.pass_spaces(),
            None if tag != Tag::Variable && self.rest().starts_with('\n') => self.pass(1),
            _ => {}
        }
    }

    fn raw(&mut self) -> Result<(), Fault> {
        if self.rest().is_empty() {
            return Ok(());
        }
        let mut from = self.at;
        loop {
            let Some(start) = self.source[from..].find("{%").map(|at| from + at) else {
                return syntax("missing end of raw directive");
            };
            let Some((opening, closing)) = raw_end(&self.source[start..]) else {
                from = start + 2;
                continue;
            };
            self.data(start, Tag::Block, opening);
            let close = self.rest().find("%}").unwrap_or_default();
            self.pass(close);
            self.close(Tag::Block, closing);
            return Ok(());
        }
    }

    /// The tokens of a tag, up to its end.
    fn inside(&mut self, tag: Tag) -> Result<(), Fault> {
        let mut open = Vec::new();
        loop {
            self.pass_spaces();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return Ok(()) };
            if open.is_empty() {
                let sign = Some(first).filter(|&c| c == '-' || (c == '+' && tag == Tag::Block));
                let length = sign.map_or(0, char::len_utf8);
                if rest[length..].starts_with(tag.close()) {
                    self.pass(length);
                    self.push(if tag == Tag::Block { Token::BlockEnd } else { Token::VariableEnd });
                    self.close(tag, sign);
                    return Ok(());
                }
            }
            let (token, length) = self.token(rest, first)?;
            if let Token::Operator(sign) = token {
                balance(&mut open, sign)?;
            }
            self.push(token);
            self.pass(length);
        }
    }

    /// The token that a text begins with, and its length.
    fn token(&self, rest: &str, first: char) -> Result<(Token, usize), Fault> {
        if first.is_ascii_digit() {
            return number(rest, self.source[..self.at].ends_with('.'));
        }
        if first == '_' || first.is_alphanumeric() {
            let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            let wrong = |c: char| !c.is_ascii() && c.is_numeric() && !c.is_alphabetic();
            if first.is_numeric() || rest[..length].contains(wrong) {
                return syntax("invalid character in identifier");
            }
            return Ok((Token::Name(rest[..length].into()), length));
        }
        if first == '\'' || first == '"' {
            return string(rest, first);
        }
        match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            Some(operator) => Ok((Token::Operator(operator), operator.len())),
            None => syntax(format!("unexpected character {first:?}")),
        }
    }
}

/// Notes brackets as they open and close.
fn balance(open: &mut Vec<&'static str>, sign: &'static str) -> Result<(), Fault> {
    match sign {
        "{" => open.push("}"),
        "(" => open.push(")"),
        "[" => open.push("]"),
        "}" | ")" | "]" => match open.pop() {
            Some(expected) if expected == sign => {}
            Some(expected) => return syntax(format!("unexpected `{sign}`, expected `{expected}`")),
            None => return syntax(format!("unexpected `{sign}`")),
        },
        _ => {}
    }
    Ok(())
}

/// The length of a `{% raw %}` tag that a text begins with, with the whitespace that it strips after it.
fn raw_begin(text: &str) -> Option<usize> {
    let inner = text[2..].trim_start_matches(['-', '+']);
    if text.len() - inner.len() > 3 {
        return None;
    }
    let inner = inner.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
    let after = match inner.strip_prefix("-%}") {
        Some(after) => after.trim_start_matches(is_space),
        None => inner.strip_prefix("%}")?,
    };
    Some(text.len() - after.len())
}

/// The signs of the `{% endraw %}` tag that a text begins with.
fn raw_end(text: &str) -> Option<(Option<char>, Option<char>)> {
    let sign = |text: &str| text.chars().next().filter(|c| matches!(c, '-' | '+'));
    let opening = sign(&text[2..]);
    let inner = text[2 + opening.map_or(0, char::len_utf8)..].trim_start_matches(is_space);
    let inner = inner.strip_prefix("endraw")?.trim_start_matches(is_space);
    let closing = sign(inner);
    inner[closing.map_or(0, char::len_utf8)..].starts_with("%}").then_some((opening, closing))
}
