//! Numbers as Python writes them by a specification.

use super::{MAX_PRECISION, Spec, number_padded};
use crate::template::fault::{Meter, Result, unsupported};

pub(super) fn integer(number: i128, kind: char, spec: &Spec, meter: &Meter) -> Result<String> {
    let size = number.unsigned_abs();
    let (prefix, mut digits) = match kind {
        'b' => ("0b", format!("{size:b}")),
        'o' => ("0o", format!("{size:o}")),
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        _ => ("", size.to_string()),
    };
    if let Some(precision) = spec.precision {
        digits = format!("{}{digits}", "0".repeat(precision.saturating_sub(digits.len())));
    }
    if let Some(separator) = spec.grouping {
        digits = grouped(&digits, separator, if kind == 'd' { 3 } else { 4 });
    }
    number_padded(number < 0, if spec.alternate { prefix } else { "" }, &digits, spec, meter)
}

/// Digits with a separator between groups of them.
fn grouped(digits: &str, separator: char, size: usize) -> String {
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(size) {
            out.push(separator);
        }
        out.push(c);
    }
    out
}

pub(super) fn float(number: f64, kind: char, spec: &Spec, meter: &Meter) -> Result<String> {
    if spec.alternate {
        return unsupported("the flag `#` with a float");
    }
    let precision = spec.precision.unwrap_or(6);
    if precision > MAX_PRECISION {
        return unsupported(format!("a precision of more than {MAX_PRECISION} digits"));
    }
    let size = if kind == '%' { number.abs() * 100.0 } else { number.abs() };
    let text = if !size.is_finite() {
        if size.is_nan() { "nan".to_string() } else { "inf".to_string() }
    } else {
        match kind {
            'e' | 'E' => scientific(size, precision),
            'g' | 'G' => general(size, precision),
            _ => {
                let text = format!("{size:.precision$}");
                match spec.grouping {
                    None => text,
                    Some(separator) => match text.split_once('.') {
                        Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole, separator, 3)),
                        None => grouped(&text, separator, 3),
                    },
                }
            }
        }
    };
    let text = if kind.is_ascii_uppercase() { text.to_ascii_uppercase() } else { text };
    let text = if kind == '%' { text + "%" } else { text };
    number_padded(number.is_sign_negative() && !number.is_nan(), "", &text, spec, meter)
}

/// Digits with an exponent of two digits or more.
fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// As many digits as the precision says, in the shorter way, without zeros at the end.
fn general(number: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let text = scientific(number, precision - 1);
    let (digits, exponent) = text.split_once('e').expect("it has an exponent");
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => digits.to_string(),
    };
    match exponent.parse::<i64>() {
        Ok(power) if (-4..precision as i64).contains(&power) => {
            trimmed(&format!("{number:.*}", (precision as i64 - 1 - power) as usize))
        }
        _ => format!("{}e{exponent}", trimmed(digits)),
    }
}
