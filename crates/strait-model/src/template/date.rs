//! The day that templates are told.

use std::fmt;

use jiff::{civil, fmt::strtime};
use serde::{Deserialize, Serialize};

use super::fault::{Meter, Result, unsupported};

/// The day that `strftime_now` of a template gives: the same for a whole study, so that it gives the same tokens on every
/// day. Its time is noon, of no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(civil::Date);

impl Default for Date {
    /// 26 July 2024, to which templates of Llama 3.1 and its kin fall back.
    fn default() -> Self {
        Self(civil::date(2024, 7, 26))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no day of the calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no day of the years 1000 to 9999, written as 2024-07-26")]
pub struct NoDate {
    /// The text.
    pub found: String,
}

impl std::str::FromStr for Date {
    type Err = NoDate;

    fn from_str(text: &str) -> std::result::Result<Self, NoDate> {
        // The library reads more ways to write a day than one.
        let day = text.parse().ok().filter(|day: &civil::Date| day.year() >= 1000 && day.to_string() == text);
        day.map(Self).ok_or_else(|| NoDate { found: text.chars().take(40).collect() })
    }
}

impl TryFrom<String> for Date {
    type Error = NoDate;

    fn try_from(text: String) -> std::result::Result<Self, NoDate> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

impl Date {
    /// The day at noon as Python's `strftime` writes it, with the flags of the C library that it stands on.
    pub(super) fn formatted(self, format: &str, meter: &Meter) -> Result<String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            meter.charge(64)?;
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut flag = None;
            let mut directive = chars.next();
            while let Some(found @ ('-' | '_' | '0' | '^' | '#')) = directive {
                if flag.replace(found).is_some() {
                    return unsupported("`strftime_now` with two flags");
                }
                directive = chars.next();
            }
            match directive {
                Some(directive) => out.push_str(&self.directive(directive, flag)?),
                None => return unsupported("`strftime_now` with `%` at its end"),
            }
        }
        Ok(out)
    }

    fn directive(self, directive: char, flag: Option<char>) -> Result<String> {
        let asked = format!("%{}{directive}", flag.map(String::from).unwrap_or_default());
        let composed = |format: &str| self.formatted(format, &Meter::new(0));
        match (directive, flag) {
            // Names.
            ('a' | 'A' | 'b' | 'h' | 'B' | 'p' | 'P', None | Some('^'))
            // Numbers.
            | (
                'd' | 'e' | 'm' | 'y' | 'Y' | 'C' | 'G' | 'g' | 'V' | 'j' | 'u' | 'w' | 'U' | 'W' | 'H' | 'I' | 'k'
                | 'l' | 'M' | 'S',
                None | Some('-' | '_' | '0'),
            )
            | ('n' | 't' | '%', None) => strtime::format(&asked, self.0.at(12, 0, 0, 0))
                .or_else(|_| unsupported(format!("`strftime_now` with `{asked}`"))),
            ('f', None) => Ok("000000".into()),
            // The time has no zone.
            ('z' | 'Z', None) => Ok(String::new()),
            ('D' | 'x', None) => composed("%m/%d/%y"),
            ('F', None) => composed("%Y-%m-%d"),
            ('R', None) => composed("%H:%M"),
            ('T' | 'X', None) => composed("%H:%M:%S"),
            ('r', None) => composed("%I:%M:%S %p"),
            ('c', None) => composed("%a %b %e %H:%M:%S %Y"),
            _ => unsupported(format!("`strftime_now` with `{asked}`")),
        }
    }
}
