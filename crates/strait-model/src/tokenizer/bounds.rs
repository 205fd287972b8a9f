//! Bounds on the length of the texts that a `tokenizer.json` may make of one.
//!
//! The parts of a tokenizer are small programs of strangers: five replacements of one letter by a hundred make gigabytes of a
//! row. How much longer each part can make a text follows from its description, before anything is run.

use serde_json::Value;

use super::problem::Problem;

/// Longest text that a normalizer may make of a shorter one, in bytes. Real ones at most replace characters by others.
const MAX_GROWN: f64 = (2 << 20) as f64;
/// The most that real ones do together: compose or take apart characters (12), write bytes as characters and spaces before words (3).
const MAX_USUAL: f64 = 40.0;
/// Most characters of a word that WordPiece may look at, in a time that grows with the square of it.
const MAX_WORD: u64 = 10_000;
/// Most that a decoder may do.
const MAX_DECODED: f64 = 4096.0;
/// Most pieces that a post-processor may put together.
const MAX_PIECES: usize = 256;

/// The length that a text may reach: `factor` times as long, and `more` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    factor: f64,
    more: f64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { factor: 1.0, more: 0.0 }
    }
}

impl Growth {
    /// The growth of a text under a normalizer, pre-tokenizer or decoder.
    pub fn of(part: Option<&Value>) -> Self {
        let same = Self::default();
        let Some(part) = part else { return same };
        let by = |factor| Self { factor, ..same };
        match part.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                let parts = ["normalizers", "pretokenizers", "decoders"]
                    .iter()
                    .find_map(|key| part.get(key)?.as_array());
                parts.into_iter().flatten().fold(same, |before, part| before.then(Self::of(Some(part))))
            }
            Some("Replace") => {
                let content = length(part.get("content"));
                match part.get("pattern").and_then(|pattern| pattern.get("String")) {
                    Some(text) if length(Some(text)) > 0.0 => by((content / length(Some(text))).max(1.0)),
                    // An expression may match nothing, before every character and at the end.
                    _ => Self { factor: 1.0 + content, more: content },
                }
            }
            Some("Prepend") => Self { more: length(part.get("prepend")), ..same },
            Some("NFD" | "NFC" | "StripAccents" | "Lowercase") => by(4.0),
            Some("NFKD" | "NFKC") => by(12.0),
            Some("BertNormalizer") => by(4.0 * 4.0),
            Some("ByteLevel") => by(3.0),
            Some("Precompiled") => by(longest_replacement(part.get("precompiled_charsmap")).max(1.0)),
            Some("WordPiece") => Self { more: length(part.get("prefix")) + 1.0, ..same },
            Some("Metaspace" | "BPEDecoder" | "CTC") => by(4.0),
            _ => same,
        }
    }

    pub fn then(self, next: Self) -> Self {
        Self { factor: self.factor * next.factor, more: self.more * next.factor + next.more }
    }

    /// Refuses a text of which too much may come.
    pub fn check(self, length: usize) -> Result<(), Problem> {
        let found = length as f64 * self.factor + self.more;
        let limit = MAX_GROWN.max(length as f64 * MAX_USUAL);
        if found > limit { Err(Problem::Growth { length, found, limit }) } else { Ok(()) }
    }
}

/// Bytes of the longest text that a table of SentencePiece writes for a character: after the length of its index and the
/// index they stand one behind the other, each ended by a zero.
fn longest_replacement(table: Option<&Value>) -> f64 {
    let bytes = from_base64(table.and_then(Value::as_str).unwrap_or_default());
    let index = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let texts = bytes.get(4..).and_then(|rest| rest.get(index..)).unwrap_or_default();
    texts.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0) as f64
}

/// The bytes of a base64 text, up to what is none.
fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().map_while(|byte| DIGITS.iter().position(|&digit| digit == byte));
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for digit in digits {
        (bits, held) = (bits << 6 | digit as u32, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// Refuses decoders and post-processors that no real tokenizer has.
pub(super) fn check(
    decoder: Option<&Value>,
    post_processor: Option<&Value>,
    word: Option<u64>,
) -> Result<(), Problem> {
    if let Some(found) = word.filter(|&word| word > MAX_WORD) {
        return Err(Problem::Word { found, limit: MAX_WORD });
    }
    let growth = Growth::of(decoder);
    let found = growth.factor + growth.more;
    if found > MAX_DECODED {
        return Err(Problem::Decoder { found, limit: MAX_DECODED });
    }
    let found = pieces(post_processor);
    if found > MAX_PIECES {
        return Err(Problem::Pieces { found, limit: MAX_PIECES });
    }
    Ok(())
}

/// Pieces that a post-processor makes of a text: the text as often as it is named, and the tokens around it.
fn pieces(part: Option<&Value>) -> usize {
    let Some(part) = part else { return 0 };
    match part.get("type").and_then(Value::as_str) {
        Some("Sequence") => {
            let parts = part.get("processors").and_then(Value::as_array);
            parts.into_iter().flatten().fold(1, |n: usize, p| n.saturating_mul(pieces(Some(p)).max(1)))
        }
        Some("TemplateProcessing") => {
            let single = part.get("single").and_then(Value::as_array).map_or(1, Vec::len);
            let longest = part.get("special_tokens").and_then(Value::as_object).map_or(1, |tokens| {
                let ids = |token: &Value| token.get("ids").and_then(Value::as_array).map_or(1, Vec::len);
                tokens.values().map(ids).max().unwrap_or(1)
            });
            single.saturating_mul(longest.max(1))
        }
        _ => 1,
    }
}

fn length(text: Option<&Value>) -> f64 {
    text.and_then(Value::as_str).map_or(0, str::len) as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replace(pattern: &str, content: &str) -> Value {
        json!({"type": "Replace", "pattern": {"String": pattern}, "content": content})
    }

    #[test]
    fn real_normalizers_are_within_bounds() {
        for normalizer in [
            json!(null),
            json!({"type": "NFC"}),
            replace(" ", "▁"),
            json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]}),
            json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Strip"}]}),
        ] {
            for length in [0, 1, 1000, 100_000_000] {
                Growth::of(Some(&normalizer)).check(length).unwrap();
            }
        }
    }

    #[test]
    fn bombs_are_seen_before_they_go_off() {
        let sequence = |part: Value, n: usize| json!({"type": "Sequence", "normalizers": vec![part; n]});
        let refused = |part: &Value, length| Growth::of(Some(part)).check(length).is_err();
        assert!(refused(&sequence(replace("a", &"a".repeat(100)), 5), 1));
        assert!(refused(&sequence(sequence(replace("a", "aa"), 5), 5), 1));
        assert!(refused(&sequence(replace("", "aa"), 20), 1));
        let expression = json!({"type": "Replace", "pattern": {"Regex": "x?"}, "content": "yyy"});
        assert!(refused(&sequence(expression, 20), 1));
        assert!(refused(&sequence(json!({"type": "NFKD"}), 9), 100));
        // One long replacement is somebody's choice, in a short text.
        assert!(!refused(&replace("a", &"a".repeat(100)), 1000));
        assert!(refused(&replace("a", &"a".repeat(100)), 1_000_000));
    }

    #[test]
    fn bytes_written_as_characters_again_and_again_are_seen() {
        let level = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false});
        let times = |n: usize| json!({"type": "Sequence", "pretokenizers": vec![level.clone(); n]});
        assert!(Growth::of(Some(&times(1))).check(10_000_000).is_ok());
        assert!(Growth::of(Some(&times(30))).check(10).is_err());
    }

    #[test]
    fn the_longest_replacement_of_a_table_is_found() {
        assert_eq!(from_base64("aGVsbG8="), b"hello");
        assert_eq!(from_base64("aGVsbG8h"), b"hello!");
        // A length of zero, and `hello`, a zero, `hi`.
        let table = json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAGhlbGxvAGhp"});
        assert_eq!(longest_replacement(table.get("precompiled_charsmap")), 5.0);
        assert_eq!(longest_replacement(Some(&json!("BAAA"))), 0.0);
    }

    #[test]
    fn many_pieces_are_refused() {
        let template = |n| json!({"type": "TemplateProcessing", "single": vec![json!({"Sequence": {"id": "A", "type_id": 0}}); n]});
        assert!(check(None, Some(&template(3)), Some(100)).is_ok());
        assert!(check(None, Some(&template(300)), None).is_err());
        let nested = json!({"type": "Sequence", "processors": vec![template(4); 5]});
        assert!(matches!(check(None, Some(&nested), None), Err(Problem::Pieces { found: 1024, .. })));
        let many = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "b", "type_id": 0}}],
                          "special_tokens": {"b": {"id": "b", "ids": vec![1; 10_000], "tokens": []}}});
        assert!(check(None, Some(&many), None).is_err());
        let decoder = json!({"type": "Sequence", "decoders": vec![replace("a", "aaaaaaaaaa"); 9]});
        assert!(matches!(check(Some(&decoder), None, None), Err(Problem::Decoder { .. })));
    }
}
