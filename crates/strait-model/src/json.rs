//! JSON of strangers: read as `serde_json` reads it, but an object that says a key twice is refused.
//!
//! Of two equal keys readers take the first, the last, or both, and none of them says so. What the file's author meant
//! cannot be known, so that it is an error, at any depth, even where nobody asks for that object.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};

/// Reads a value from the bytes of a JSON text.
///
/// # Errors
/// If it is no JSON, says a key twice in one object, or is not what is asked for. The error names line and column.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let Unique = serde_json::from_slice(bytes)?;
    serde_json::from_slice(bytes)
}

/// Reads a value from a JSON text.
///
/// # Errors
/// As [`from_slice`].
pub fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    from_slice(text.as_bytes())
}

/// Any value in which no object says a key twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
            let Self = map.next_value()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn values_are_read_in_their_order() {
        let text = r#"{"b": [1, -2, 3.5, null, true, "x"], "a": {"b": {"a": {}}}}"#;
        let value: Value = from_str(text).unwrap();
        assert_eq!(value, json!({"b": [1, -2, 3.5, null, true, "x"], "a": {"b": {"a": {}}}}));
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(from_slice::<u32>(b"7").unwrap(), 7);
    }

    #[test]
    fn a_key_said_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "\u0061": 3}"#,
            r#"[[{"x": {"y": [0, {"a": 1, "a": null}]}}]]"#,
            "{\n \"a\": {\"b\": 1},\n \"a\": {}}",
        ] {
            let error = from_str::<Value>(text).unwrap_err().to_string();
            assert!(error.contains("the key \"a\" stands twice") && error.contains("line"), "{error}");
        }
        // Also in what nobody asks for.
        #[derive(Debug, Deserialize)]
        struct Small {
            #[expect(dead_code)]
            a: u8,
        }
        assert!(from_str::<Small>(r#"{"a": 1, "b": {"c": 1, "c": 2}}"#).is_err());
        assert!(from_str::<Small>(r#"{"a": 1, "b": {"c": 1, "d": 2}}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in
            ["", "{", "nul", "[1,]", "{\"a\" 1}", "\u{feff}{}", "{} {}", "NaN", "1e999", "\"\\ud800\""]
        {
            assert!(from_str::<Value>(text).is_err(), "{text}");
        }
        assert!(from_slice::<Value>(b"\"\xff\"").is_err());
        assert!(from_str::<Value>(&"[".repeat(100_000)).is_err());
        assert!(from_str::<Value>(&format!("{}{}", "[".repeat(200), "]".repeat(200))).is_err());
    }
}
