//! The day that templates are told.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{Meter, Result, unsupported};

/// The day that `strftime_now` of a template gives: the same for a whole study, so that it gives the same tokens on every
/// day. Its time is noon, of no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: i32,
    month: u32,
    day: u32,
}

impl Default for Date {
    /// 26 July 2024, to which templates of Llama 3.1 and its kin fall back.
    fn default() -> Self {
        Self { year: 2024, month: 7, day: 26 }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
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
        let read = || {
            let digits = |range: std::ops::Range<usize>| {
                let part = text.get(range)?;
                part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok())?
            };
            let is_shaped = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
            let (year, month, day) = (digits(0..4)? as i32, digits(5..7)?, digits(8..10)?);
            let is_day =
                year >= 1000 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
            (is_shaped && is_day).then_some(Self { year, month, day })
        };
        read().ok_or_else(|| NoDate { found: text.chars().take(40).collect() })
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

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Monday, as the ISO counts.
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Date {
    /// The day of its year, counted from 1.
    fn ordinal(self) -> u32 {
        (1..self.month).map(|month| days_in(self.year, month)).sum::<u32>() + self.day
    }

    /// The day of its week, counted from Monday as 0.
    fn weekday(self) -> u32 {
        let past = self.year - 1;
        // The first of January of the year 1 was a Monday.
        let days = past * 365 + past / 4 - past / 100 + past / 400 + self.ordinal() as i32 - 1;
        days.rem_euclid(7) as u32
    }

    /// The ISO's year and week: that which most of its days lie in.
    fn iso_week(self) -> (i32, u32) {
        let week = (self.ordinal() + 9 - self.weekday()) / 7;
        let weeks = |year: i32| {
            let first = Self { year, month: 1, day: 1 }.weekday();
            if first == 3 || first == 2 && is_leap(year) { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, weeks(self.year - 1)),
            week if week > weeks(self.year) => (self.year + 1, 1),
            week => (self.year, week),
        }
    }

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
        let name = |name: &str| match flag {
            None => Ok(name.to_string()),
            Some('^') => Ok(name.to_uppercase()),
            Some(flag) => unsupported(format!("`strftime_now` with `%{flag}{directive}`")),
        };
        // A number with its width, and what fills it.
        let number = |number: u32, width: usize, fill: char| match flag.unwrap_or(fill) {
            '-' => Ok(number.to_string()),
            '_' => Ok(format!("{number:width$}")),
            '0' => Ok(format!("{number:0width$}")),
            flag => unsupported(format!("`strftime_now` with `%{flag}{directive}`")),
        };
        let composed = |format: &str| match flag {
            None => self.formatted(format, &Meter::new(0)),
            Some(flag) => unsupported(format!("`strftime_now` with `%{flag}{directive}`")),
        };
        let (iso_year, iso_week) = self.iso_week();
        let weekday = self.weekday();
        match directive {
            'a' => name(&DAYS[weekday as usize][..3]),
            'A' => name(DAYS[weekday as usize]),
            'b' | 'h' => name(&MONTHS[self.month as usize - 1][..3]),
            'B' => name(MONTHS[self.month as usize - 1]),
            'p' => name("PM"),
            'P' => name("pm"),
            'd' => number(self.day, 2, '0'),
            'e' => number(self.day, 2, '_'),
            'm' => number(self.month, 2, '0'),
            'y' => number(self.year as u32 % 100, 2, '0'),
            'Y' => number(self.year as u32, 1, '0'),
            'C' => number(self.year as u32 / 100, 2, '0'),
            'G' => number(iso_year as u32, 1, '0'),
            'g' => number(iso_year as u32 % 100, 2, '0'),
            'V' => number(iso_week, 2, '0'),
            'j' => number(self.ordinal(), 3, '0'),
            'u' => number(weekday + 1, 1, '0'),
            'w' => number((weekday + 1) % 7, 1, '0'),
            // Weeks that begin on a Sunday, and on a Monday.
            'U' => number((self.ordinal() + 6 - (weekday + 1) % 7) / 7, 2, '0'),
            'W' => number((self.ordinal() + 6 - weekday) / 7, 2, '0'),
            'H' | 'I' => number(12, 2, '0'),
            'k' | 'l' => number(12, 2, '_'),
            'M' | 'S' => number(0, 2, '0'),
            'f' if flag.is_none() => Ok("000000".into()),
            // The time has no zone.
            'z' | 'Z' if flag.is_none() => Ok(String::new()),
            'n' if flag.is_none() => Ok("\n".into()),
            't' if flag.is_none() => Ok("\t".into()),
            '%' if flag.is_none() => Ok("%".into()),
            'D' | 'x' => composed("%m/%d/%y"),
            'F' => composed("%Y-%m-%d"),
            'R' => composed("%H:%M"),
            'T' | 'X' => composed("%H:%M:%S"),
            'r' => composed("%I:%M:%S %p"),
            'c' => composed("%a %b %e %H:%M:%S %Y"),
            's' => unsupported("`strftime_now` with `%s`, the seconds of a time zone"),
            other => unsupported(format!("`strftime_now` with `%{other}`")),
        }
    }
}
