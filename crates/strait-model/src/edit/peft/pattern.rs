//! Regular expressions of `adapter_config.json`, which PEFT gives to Python's `re`.
//!
//! They are run by an engine of the same make that knows another dialect. What both read alike is run; what they read
//! differently, or what only one of them reads, is refused: a pattern says which modules are adapted and how strongly.

use std::{iter::Peekable, str::CharIndices};

use fancy_regex::{Regex, RegexBuilder};

use super::super::Problem;

/// Longest pattern that is read: those that tools write for models of every make have some hundred characters.
const LONGEST: usize = 1 << 14;
/// Largest program that a pattern may become, in bytes.
const LARGEST: usize = 8 << 20;

/// A pattern that is ready to be asked.
#[derive(Debug)]
pub(super) struct Pattern {
    key: &'static str,
    written: String,
    regex: Regex,
}

impl Pattern {
    /// `re.fullmatch(written, ..)`.
    pub(super) fn whole(key: &'static str, written: &str) -> Result<Self, Problem> {
        Self::new(key, written, &format!(r"\A(?:{written})\z"), true)
    }

    /// A key of `rank_pattern` or `alpha_pattern` as PEFT asks it: whether it matches a module's last parts.
    pub(super) fn of_last_parts(key: &'static str, written: &str) -> Result<Self, Problem> {
        Self::new(key, written, &format!(r"\A(.*\.)?({written})$"), false)
    }

    /// A pattern of `layers_pattern`, which finds the number after it.
    pub(super) fn of_layers(key: &'static str, written: &str) -> Result<Self, Problem> {
        Self::new(key, written, &format!(r"\A(?:^|.*?\.){written}\.(?P<idx>\d+)\."), false)
    }

    /// PEFT's pattern in place of a `layers_pattern`: the first number between two other parts of a path.
    pub(super) fn of_any_layers(key: &'static str) -> Result<Self, Problem> {
        let regex =
            Regex::new(r"\A.*?\.[^.]*\.(?P<idx>\d+)\.").map_err(|e| refused(key, "", e.to_string()))?;
        Ok(Self { key, written: String::new(), regex })
    }

    fn new(key: &'static str, written: &str, whole: &str, flags_in_front: bool) -> Result<Self, Problem> {
        if written.len() > LONGEST {
            let written = written.chars().take(40).collect::<String>() + "..";
            return Err(refused(key, &written, format!("it is longer than {LONGEST} bytes")));
        }
        Dialect { rest: written.char_indices().peekable(), written, flags_in_front }
            .check()
            .map_err(|why| refused(key, written, why))?;
        let regex = RegexBuilder::new(whole)
            .delegate_size_limit(LARGEST)
            .build()
            .map_err(|error| refused(key, written, error.to_string()))?;
        Ok(Self { key, written: written.into(), regex })
    }

    pub(super) fn matches(&self, path: &str) -> Result<bool, Problem> {
        self.regex.is_match(path).map_err(|error| refused(self.key, &self.written, error.to_string()))
    }

    /// The number that a pattern of layers finds.
    pub(super) fn layer(&self, path: &str) -> Result<Option<i64>, Problem> {
        let found = self.regex.captures(path);
        let found = found.map_err(|error| refused(self.key, &self.written, error.to_string()))?;
        Ok(found.and_then(|found| found.name("idx")?.as_str().parse().ok()))
    }
}

fn refused(key: &'static str, pattern: &str, why: String) -> Problem {
    Problem::Pattern { key, pattern: pattern.into(), why }
}

/// A walk over a pattern that stops at what Python reads otherwise, or not at all.
struct Dialect<'a> {
    written: &'a str,
    rest: Peekable<CharIndices<'a>>,
    /// True if flags such as `(?i)` may stand at its beginning.
    flags_in_front: bool,
}

impl Dialect<'_> {
    fn check(mut self) -> Result<(), String> {
        let (mut in_class, mut repeated) = (false, false);
        while let Some((at, c)) = self.rest.next() {
            let rest = &self.written[at..];
            let repeats = matches!(c, '*' | '+' | '?') && !in_class;
            match c {
                '\\' => self.escape(in_class)?,
                '[' if in_class => return Err("it has `[` inside of a class".into()),
                '[' => {
                    in_class = true;
                    // A bracket that comes first is one of the class.
                    self.rest.next_if(|(_, c)| *c == '^');
                    self.rest.next_if(|(_, c)| *c == ']');
                }
                ']' => in_class = false,
                '&' | '-' | '~' | '|' if in_class && self.rest.peek().is_some_and(|(_, next)| *next == c) => {
                    return Err(format!("it has `{c}{c}` inside of a class"));
                }
                '(' if !in_class && rest.starts_with("(?") => self.group(at, rest)?,
                '{' if !in_class && rest.starts_with("{,") => return Err("it has `{,`".into()),
                '*' if repeats && repeated => return Err("it repeats a repetition".into()),
                _ => {}
            }
            repeated = repeats;
        }
        Ok(())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some((_, c)) = self.rest.next() else { return Err("it ends in `\\`".into()) };
        let known = match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 't' | 'r' => true,
            'b' | 'B' | 'A' => !in_class,
            '1'..='9' => !in_class,
            '<' | '>' => false,
            _ => c.is_ascii() && !c.is_ascii_alphanumeric(),
        };
        if known { Ok(()) } else { Err(format!("it has `\\{c}`")) }
    }

    /// The rest after `(?`.
    fn group(&mut self, at: usize, rest: &str) -> Result<(), String> {
        let inner = &rest[2..];
        let named = inner.strip_prefix("P<").is_some();
        let plain = [":", "=", "!", "<=", "<!", ">"].iter().any(|sign| inner.starts_with(sign));
        let letters = inner.trim_start_matches(['i', 'm', 's']);
        let flags = letters.len() < inner.len();
        let scoped = flags && letters.starts_with(':');
        let in_front = flags && letters.starts_with(')') && at == 0 && self.flags_in_front;
        if !(named || plain || scoped || in_front) {
            return Err(format!("it has `{}`", rest.chars().take(4).collect::<String>()));
        }
        // The question mark repeats nothing.
        self.rest.next();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "model.layers.1.self_attn.q_proj";

    #[test]
    fn what_both_dialects_read_is_run() {
        for (written, whole, last) in [
            ("q_proj", false, true),
            (PATH, true, true),
            (r".*\.q_proj", true, true),
            ("(q|k)_proj", false, true),
            ("k_proj|q_proj", false, true),
            ("^model.layers.1.self_attn.q_proj$", true, true),
            ("layers.1.self_attn.q_proj", false, true),
            ("^layers.1.self_attn.q_proj", false, false),
            ("attn.q_proj", false, false),
            (r"model\.layers\.\d+\.self_attn\.[qk]_proj", true, true),
            (r"(?!.*layers\.0)model.*q_proj", true, true),
            (r"(?!.*layers\.1).*q_proj", false, true),
            (r".*(?<=self_attn\.)q_proj", true, true),
            (r"(?P<name>model)\..*_proj", true, true),
            (r".*\.(?i:Q)_proj", true, true),
            (r"[]q]_proj", false, true),
            (r"[^]k]_proj", false, true),
            (r".{8,}q_proj", true, true),
            (r"\bq_proj", false, true),
            ("", false, false),
        ] {
            let found = Pattern::whole("target_modules", written).unwrap().matches(PATH).unwrap();
            assert_eq!(found, whole, "fullmatch {written}");
            let found = Pattern::of_last_parts("rank_pattern", written).unwrap().matches(PATH).unwrap();
            assert_eq!(found, last, "last parts {written}");
        }
        // As unsloth writes it for models with eyes, shortened.
        let towers = r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|up_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|up_proj)))";
        let towers = Pattern::whole("target_modules", towers).unwrap();
        for (path, expected) in
            [(PATH, true), ("model.language_model.layers.0.mlp.up_proj", true), ("lm_head", false)]
        {
            assert_eq!(towers.matches(path).unwrap(), expected, "{path}");
        }
        assert!(Pattern::whole("target_modules", "(?i).*Q_PROJ").unwrap().matches(PATH).unwrap());
    }

    #[test]
    fn what_python_reads_otherwise_is_refused() {
        for written in [
            "(?i)Q_PROJ",
            "(?x)a",
            "(?<n>a)",
            "(?P=n)",
            "(?#a)",
            "(?(1)a)",
            r"\z",
            r"\Z",
            r"\p{L}",
            r"\x61",
            r"\h",
            r"\K",
            r"\<a",
            "[[:alpha:]]",
            "[a&&b]",
            "[a--b]",
            "a{,3}",
            "a**",
            "(",
            "[a",
            "a\\",
            r"[\b]",
        ] {
            let Err(Problem::Pattern { key: "rank_pattern", pattern, .. }) =
                Pattern::of_last_parts("rank_pattern", written)
            else {
                panic!("{written} was read");
            };
            assert_eq!(pattern, written);
        }
        assert!(Pattern::whole("target_modules", &"a".repeat(LONGEST + 1)).is_err());
        assert!(Pattern::whole("target_modules", "((a{1000}){1000}){1000}").is_err(), "no room for it");
        let slow = Pattern::whole("target_modules", r"(?=a)(a|a)*(?<=b)").unwrap();
        assert!(slow.matches(&"a".repeat(64)).is_err(), "time is bounded");
    }

    #[test]
    fn layers_are_the_first_number_that_fits() {
        let any = Pattern::of_any_layers("layers_to_transform").unwrap();
        assert_eq!(any.layer(PATH).unwrap(), Some(1));
        assert_eq!(any.layer("model.layers.2.experts.7.up").unwrap(), Some(2));
        assert_eq!(any.layer("layers.0.mlp.up_proj").unwrap(), None);
        let layers = Pattern::of_layers("layers_pattern", "layers").unwrap();
        assert_eq!(layers.layer("layers.0.mlp.up_proj").unwrap(), Some(0));
        assert_eq!(layers.layer("model.h.0.mlp.up_proj").unwrap(), None);
    }
}
