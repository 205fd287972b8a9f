//! Numbers and texts as a template writes them.

use std::sync::Arc;

use super::{Token, syntax};
use crate::template::{ast::Text, fault::Fault};

/// The number that a text begins with; behind a dot it has no fraction.
pub(super) fn number(text: &str, behind_dot: bool) -> Result<(Token, usize), Fault> {
    if !behind_dot && let Some(length) = float_length(text) {
        let digits = text[..length].replace('_', "");
        let number = digits.parse().map_err(|_| Fault::Syntax("a number that cannot be read".into()))?;
        return Ok((Token::Float(number), length));
    }
    let based = |prefix: usize, radix: u32| {
        let length = digits_length(&text[prefix..], |c| c.is_digit(radix), true);
        (length > 0).then_some((prefix, prefix + length, radix))
    };
    let lower = text.get(..2).map(str::to_ascii_lowercase);
    let found = match lower.as_deref() {
        Some("0b") => based(2, 2),
        Some("0o") => based(2, 8),
        Some("0x") => based(2, 16),
        _ => None,
    };
    let (start, end, radix) = found.unwrap_or_else(|| {
        let zero = text.starts_with('0');
        let length = digits_length(text, |c| if zero { c == '0' } else { c.is_ascii_digit() }, false);
        (0, length, 10)
    });
    let digits = text[start..end].replace('_', "");
    match i128::from_str_radix(&digits, radix) {
        Ok(number) => Ok((Token::Int(number), end)),
        Err(_) => Err(Fault::Unsupported("an integer of more than 128 bits".into())),
    }
}

/// The length of digits that may have single underscores between them (and before them).
fn digits_length(text: &str, is_digit: impl Fn(char) -> bool, leading: bool) -> usize {
    let mut length = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let joined = c == '_' && (leading || length > 0) && chars.peek().is_some_and(|&c| is_digit(c));
        if !is_digit(c) && !joined {
            break;
        }
        length += 1;
    }
    length
}

/// The length of the floating point number that a text begins with, if it has a fraction or an exponent.
fn float_length(text: &str) -> Option<usize> {
    let digits = |at: usize| digits_length(&text[at..], |c| c.is_ascii_digit(), false);
    let bytes = text.as_bytes();
    let mut end = digits(0);
    let mut is_float = false;
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
        is_float = true;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = if end + 1 + sign <= text.len() { digits(end + 1 + sign) } else { 0 };
        if exponent > 0 {
            end += 1 + sign + exponent;
            is_float = true;
        }
    }
    is_float.then_some(end)
}

/// The text literal that a text begins with.
pub(super) fn string(text: &str, quote: char) -> Result<(Token, usize), Fault> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Ok((Token::Str(unescaped(&text[1..at])?), at + 1));
        }
    }
    syntax(format!("unexpected character {quote:?}"))
}

/// A literal's text: Python's escapes, in a source whose characters beyond ASCII were turned into escapes before.
fn unescaped(literal: &str) -> Result<Text, Fault> {
    if !literal.contains('\\') {
        return Ok(literal.into());
    }
    let mut escaped = String::with_capacity(literal.len());
    for c in literal.chars() {
        match c as u32 {
            0..=0x7f => escaped.push(c),
            code @ 0x80..=0xff => escaped.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => escaped.push_str(&format!("\\u{code:04x}")),
            code => escaped.push_str(&format!("\\U{code:08x}")),
        }
    }
    let mut text = String::with_capacity(literal.len());
    let mut rest = escaped.as_str();
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else { return syntax("`\\` at the end of a text") };
        rest = &rest[1..];
        match kind {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(kind),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\x0b'),
            '0'..='7' => {
                let length = 1 + rest.chars().take(2).take_while(|c| c.is_digit(8)).count();
                let digits = format!("{kind}{}", &rest[..length - 1]);
                rest = &rest[length - 1..];
                text.push(character(&digits, 8)?);
            }
            'x' | 'u' | 'U' => {
                let length = match kind {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let Some(digits) = rest.get(..length).filter(|d| d.chars().all(|c| c.is_ascii_hexdigit()))
                else {
                    return syntax(format!("truncated `\\{kind}` escape"));
                };
                rest = &rest[length..];
                text.push(character(digits, 16)?);
            }
            'N' => return Err(Fault::Unsupported("the escape `\\N{...}`".into())),
            other => text.extend(['\\', other]),
        }
    }
    Ok(Arc::from(text + rest))
}

/// The character of a number.
fn character(digits: &str, radix: u32) -> Result<char, Fault> {
    let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    match char::from_u32(code) {
        Some(c) => Ok(c),
        None if (0xd800..0xe000).contains(&code) => {
            Err(Fault::Unsupported("a lone surrogate in a text".into()))
        }
        None => syntax("illegal Unicode character"),
    }
}
