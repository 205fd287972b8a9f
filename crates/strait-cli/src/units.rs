//! Numbers as people read them.

use std::time::Duration;

/// Four significant digits; `-` where there is no value.
pub fn digits(value: f64) -> String {
    if value.is_nan() {
        return "-".into();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || magnitude.is_infinite() {
        return value.to_string();
    }
    let exponent = magnitude.log10().floor() as i32;
    match exponent {
        -4..=6 => format!("{value:.*}", (3 - exponent).max(0) as usize),
        _ => format!("{value:.3e}"),
    }
}

/// Thousands apart: `134,515,008`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the unit that fits, in powers of 1024: `93.8 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.4 s`, `2 min 13 s`, `1 h 4 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `n things`, or `1 thing`.
pub fn plural(n: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (2.345678, "2.346"),
            (-0.0123456, "-0.01235"),
            (0.000123456, "0.0001235"),
            (169.25, "169.2"),
            (1234567.0, "1234567"),
            (1.5e-9, "1.500e-9"),
            (f64::NAN, "-"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }

    #[test]
    fn counts_bytes_and_durations() {
        assert_eq!([0, 999, 1000, 134_515_008].map(count), ["0", "999", "1,000", "134,515,008"]);
        assert_eq!([5, 1024, 1_048_575, 98_362_432].map(bytes), ["5 B", "1.0 KiB", "1.0 MiB", "93.8 MiB"]);
        let shown = [0.42, 9.96, 59.4, 133.0, 3850.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["0.4 s", "10 s", "59 s", "2 min 13 s", "1 h 4 min"]);
        assert_eq!([plural(1, "row"), plural(1500, "row")], ["1 row", "1,500 rows"]);
    }
}
