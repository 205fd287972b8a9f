//! `--memory`: how much memory a command may take.

use clap::Args;

/// `--memory`.
#[derive(Args)]
pub struct MemoryArgument {
    /// Stay within this much memory, such as 6GiB or 800MiB: what has no room is computed again when it is needed, with the
    /// same results [default: what the steps need, as far as the machine has it]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
}

/// The units of sizes, in bytes.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A size in bytes: a number, whole or with digits behind the point, and a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())).map(|(_, bytes)| *bytes);
    let bytes = number.parse().ok().zip(unit).map(|(number, unit): (f64, u64)| number * unit as f64);
    let bytes = bytes.filter(|bytes| *bytes >= 1.0 && *bytes < u64::MAX as f64).map(|bytes| bytes as u64);
    bytes.ok_or_else(|| "expected a size such as 6GiB, 800MiB, 4GB or a number of bytes".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::size;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in [
            ("6GiB", 6 << 30),
            ("800MiB", 800 << 20),
            ("4GB", 4_000_000_000),
            ("1.5GiB", 3 << 29),
            ("2 gib", 2 << 30),
            ("1048576", 1 << 20),
            ("512KiB", 512 << 10),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in
            ["", "GiB", "0", "-1GiB", "6 G i B", "1e9", "6GiBs", "1.2.3GB", "inf", "NaN", "99999999TiB", "6G"]
        {
            assert!(size(wrong).unwrap_err().contains("6GiB"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_of_bytes_are_what_they_say(bytes in 1..1_u64 << 50) {
            prop_assert_eq!(size(&bytes.to_string()), Ok(bytes));
            prop_assert_eq!(size(&format!("{bytes}B")), Ok(bytes));
        }

        #[test]
        fn any_text_is_a_size_or_an_error(text in ".*") {
            let _ = size(&text);
        }
    }
}
