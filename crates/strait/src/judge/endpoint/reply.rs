//! What an endpoint's answer says.

use serde::Deserialize;

use crate::judge::{Reason, Score};

/// The part of an answer that is read.
#[derive(Debug, Deserialize)]
pub struct Reply {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<Token>>,
}

#[derive(Debug, Deserialize)]
struct Token {
    #[serde(default)]
    top_logprobs: Vec<Likely>,
}

#[derive(Debug, Deserialize)]
struct Likely {
    token: String,
    logprob: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    total_tokens: u64,
}

impl Reply {
    /// The tokens that the endpoint counts for it.
    pub fn tokens(&self) -> u64 {
        self.usage.map_or(0, |usage| usage.total_tokens)
    }

    /// True if there is an answer in it.
    pub fn is_whole(&self) -> bool {
        !self.choices.is_empty()
    }

    /// The mean of the numbers 0 to 100 among the likeliest first tokens, weighted with their probabilities, where these sum to
    /// `least`; none of all without probabilities.
    pub fn weighted(&self, least: f64) -> Option<Score> {
        let likely = &self.choices.first()?.logprobs.as_ref()?.content.as_ref()?.first()?.top_logprobs;
        if likely.is_empty() {
            return None;
        }
        let (mut mass, mut sum) = (0.0, 0.0);
        for Likely { token, logprob } in likely {
            if let Some(number) = number(token) {
                mass += logprob.exp();
                sum += f64::from(number) * logprob.exp();
            }
        }
        if mass >= least && mass > 0.0 {
            return Some(Ok((sum / mass).clamp(0.0, 100.0)));
        }
        let first = likely.iter().max_by(|a, b| a.logprob.total_cmp(&b.logprob));
        Some(Err(first.map_or(Reason::NoNumber, |first| declined(&first.token))))
    }

    /// The number that the answer begins with.
    pub fn printed(&self) -> Score {
        let text =
            self.choices.first().and_then(|choice| choice.message.content.as_deref()).unwrap_or_default();
        let word = text
            .split(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | '/' | '%'))
            .find(|word| !word.is_empty());
        let word = word.unwrap_or_default();
        number(word).map(f64::from).ok_or_else(|| declined(word))
    }
}

/// A whole number from 0 to 100, as the papers read tokens.
fn number(token: &str) -> Option<u8> {
    let digits = token.trim();
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_plain && *number <= 100)
}

/// The reason that the beginning of a word gives.
fn declined(word: &str) -> Reason {
    let begins = |whole: &str| {
        let word = word.trim().to_uppercase();
        word.len() >= 2 && (whole.starts_with(&word) || word.starts_with(whole))
    };
    match () {
        () if begins("CODE") => Reason::Code,
        () if begins("REFUSAL") => Reason::Refusal,
        () => Reason::NoNumber,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::judge::MASS;

    fn reply(text: &str, likely: &[(&str, f64)]) -> Reply {
        let top: Vec<_> =
            likely.iter().map(|(token, p)| json!({ "token": token, "logprob": p.ln() })).collect();
        let logprobs = json!({ "content": [{ "token": text, "logprob": 0.0, "top_logprobs": top }] });
        let choice = json!({ "message": { "role": "assistant", "content": text }, "logprobs": logprobs });
        serde_json::from_value(json!({ "choices": [choice], "usage": { "total_tokens": 7 } })).unwrap()
    }

    #[test]
    fn numbers_are_weighted_and_all_else_is_dropped() {
        let weighted = |likely: &[(&str, f64)]| reply("", likely).weighted(MASS);
        let close = |likely: &[(&str, f64)], expected: f64| {
            let found = weighted(likely).unwrap().unwrap();
            assert!((found - expected).abs() < 1e-9, "{found}");
        };
        close(&[("90", 0.5), ("80", 0.25), ("REF", 0.25)], 260.0 / 3.0);
        close(&[("100", 0.2), (" 0", 0.1), ("101", 0.3), ("5.5", 0.1), ("-3", 0.1), ("١", 0.2)], 200.0 / 3.0);
        assert_eq!(weighted(&[("REF", 0.8), ("90", 0.1)]), Some(Err(Reason::Refusal)));
        assert_eq!(weighted(&[("CODE", 0.8), ("90", 0.1)]), Some(Err(Reason::Code)));
        assert_eq!(weighted(&[("The", 0.8), ("90", 0.2)]), Some(Err(Reason::NoNumber)));
        assert_eq!(weighted(&[]), None);
        assert_eq!(reply("", &[("1", 1.0)]).tokens(), 7);
        let without: Reply =
            serde_json::from_value(json!({ "choices": [{ "message": {}, "logprobs": null }] })).unwrap();
        assert_eq!(
            (without.weighted(MASS), without.printed(), without.tokens()),
            (None, Err(Reason::NoNumber), 0)
        );
    }

    #[test]
    fn printed_numbers_stand_first() {
        let check =
            |text: &str, expected: Score| assert_eq!(reply(text, &[]).printed(), expected, "{text:?}");
        check("85", Ok(85.0));
        check(" 7.\n", Ok(7.0));
        check("40/100, since", Ok(40.0));
        check("REFUSAL", Err(Reason::Refusal));
        check("code", Err(Reason::Code));
        check("I would say 40", Err(Reason::NoNumber));
        check("101", Err(Reason::NoNumber));
        check("", Err(Reason::NoNumber));
    }
}
