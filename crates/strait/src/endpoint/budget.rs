//! Budgets and prices, as users give them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The most that requests may use together; in files its text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Budget {
    /// Tokens of prompts and answers.
    Tokens(u64),
    /// Money, in the currency of the price.
    Money(f64),
}

/// The price of a million tokens; in files its text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price {
    /// Of prompts.
    pub prompts: f64,
    /// Of answers.
    pub answers: f64,
}

impl Price {
    /// The cost of tokens.
    pub(super) fn of(self, prompts: u64, answers: u64) -> f64 {
        (self.prompts * prompts as f64 + self.answers * answers as f64) / 1e6
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(tokens) => write!(f, "{tokens} tokens"),
            Self::Money(money) => write!(f, "{money}"),
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.prompts, self.answers)
    }
}

/// Reads and writes a type by its text.
macro_rules! by_text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

by_text!(Budget);
by_text!(Price);

impl FromStr for Budget {
    type Err = String;

    /// `200000 tokens`, `200k tokens`, `1.5M tokens`, or an amount of money: `2.50`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected tokens, as in `200k tokens`, or money, as in `2.50`".to_string();
        let text = text.trim();
        let Some(amount) = text.strip_suffix("tokens").map(str::trim) else {
            return amount(text.trim_start_matches('$')).map(Self::Money).ok_or_else(expected);
        };
        let (digits, unit) = match amount.strip_suffix(['k', 'K']) {
            Some(thousands) => (thousands, 1e3),
            None => amount.strip_suffix('M').map_or((amount, 1.0), |millions| (millions, 1e6)),
        };
        let tokens = self::amount(digits.trim()).map(|amount| amount * unit);
        tokens.filter(|tokens| *tokens < 1e15).map(|tokens| Self::Tokens(tokens as u64)).ok_or_else(expected)
    }
}

impl FromStr for Price {
    type Err = String;

    /// Two amounts of money: `2.5:10`.
    fn from_str(text: &str) -> Result<Self, String> {
        let both = text.split_once(':').and_then(|(prompts, answers)| {
            Some(Self { prompts: amount(prompts.trim())?, answers: amount(answers.trim())? })
        });
        both.ok_or_else(|| {
            "expected the prices of a million tokens of prompts and of answers, as in `2.5:10`".into()
        })
    }
}

/// A finite number of 0 or more.
fn amount(text: &str) -> Option<f64> {
    text.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_tokens_or_money() {
        let check = |text: &str, expected: Budget| assert_eq!(text.parse(), Ok(expected), "{text}");
        check("200k tokens", Budget::Tokens(200_000));
        check("1.5M tokens", Budget::Tokens(1_500_000));
        check("12tokens", Budget::Tokens(12));
        check("2.50", Budget::Money(2.5));
        check("$3", Budget::Money(3.0));
        check(&Budget::Tokens(1_500_000).to_string(), Budget::Tokens(1_500_000));
        check(&Budget::Money(0.3).to_string(), Budget::Money(0.3));
        for wrong in ["", "tokens", "-1", "k tokens", "inf", "5 apples", "1e300 tokens", "NaN tokens"] {
            assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn prices_are_of_a_million_tokens() {
        let price: Price = "2.5: 10".parse().unwrap();
        assert_eq!(price.of(1_000_000, 100_000), 3.5);
        for wrong in ["", "2.5", "a:b", "1:-1", ":"] {
            assert!(wrong.parse::<Price>().is_err(), "{wrong}");
        }
        assert_eq!(price.to_string().parse(), Ok(price));
    }
}
