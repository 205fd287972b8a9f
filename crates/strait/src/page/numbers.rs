//! Numbers and lists as people read them.

use crate::interval::Interval;

impl Interval {
    /// The value and its interval, "0.25 (0.19 to 0.31)", with as many digits as the interval's width bears.
    pub(crate) fn words(&self) -> String {
        let half = (self.high - self.low) / 2.0;
        if !(half.is_finite() && half > 0.0) {
            return number(self.value);
        }
        // The last digit shown is at most a third of the half-width.
        let digits = (3.0 / half).log10().ceil().clamp(0.0, 8.0) as usize;
        let show = |value: f64| minus(&format!("{value:.digits$}"));
        format!("{} ({} to {})", show(self.value), show(self.low), show(self.high))
    }
}

/// A number with three significant digits; whole numbers in full; a dash for none.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "–".into()
    } else if value.is_infinite() || (size < 1e6 && value.fract() == 0.0) {
        // Adding zero turns a negative zero into a plain one.
        minus(&format!("{}", value + 0.0)).replace("inf", "∞")
    } else if (1e-3..1e6).contains(&size) {
        let digits = (2.0 - size.log10().floor()).max(0.0) as usize;
        minus(&format!("{value:.digits$}"))
    } else {
        minus(&format!("{value:.2e}"))
    }
}

/// A share as a percentage, with one digit after the point where it is below 100 and has one. The space does not break.
pub(crate) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return number(share);
    }
    let value = share * 100.0;
    let digits = format!("{value:.*}", usize::from(value.abs() < 100.0));
    format!("{}\u{a0}%", minus(digits.strip_suffix(".0").unwrap_or(&digits)))
}

/// With a true minus sign, and none before a zero.
fn minus(digits: &str) -> String {
    match digits.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| matches!(c, '0' | '.')) => zero.into(),
        _ => digits.replace('-', "−"),
    }
}

/// "a", "a and b", "a, b and c".
pub(crate) fn list<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().into(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// A name between quotation marks.
pub(crate) fn quoted(name: &str) -> String {
    format!("“{name}”")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let check = |value, expected| assert_eq!(number(value), expected);
        check(0.0, "0");
        check(-0.0, "0");
        check(4.0, "4");
        check(-12_345.0, "−12345");
        check(0.123_456, "0.123");
        check(-0.05, "−0.0500");
        check(12.345, "12.3");
        check(1234.5, "1234");
        check(0.000_012, "1.20e−5");
        check(3.2e9, "3.20e9");
        check(f64::NAN, "–");
        check(f64::NEG_INFINITY, "−∞");
    }

    #[test]
    fn an_interval_decides_the_digits_of_its_value() {
        let check =
            |value, low, high, expected: &str| assert_eq!(Interval { value, low, high }.words(), expected);
        check(0.2512, 0.19, 0.31, "0.25 (0.19 to 0.31)");
        check(0.1312, 0.1201, 0.1423, "0.131 (0.120 to 0.142)");
        check(-0.004, -0.05, 0.04, "0.00 (−0.05 to 0.04)");
        check(12.0, 7.0, 17.0, "12 (7 to 17)");
        check(0.5, 0.5, 0.5, "0.500");
        check(0.5, f64::NAN, f64::NAN, "0.500");
    }

    #[test]
    fn percentages_and_lists() {
        assert_eq!(percent(0.25), "25\u{a0}%");
        assert_eq!(percent(0.2534), "25.3\u{a0}%");
        assert_eq!(percent(-0.0001), "0\u{a0}%");
        assert_eq!(percent(12.5), "1250\u{a0}%");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list::<&str>(&[]), "");
    }
}
