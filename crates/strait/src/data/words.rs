//! Names of other people's keys and members, as errors show them.

/// The first characters of a word from a file: enough to know it by, too few to quote a row.
pub(super) fn shortened(word: &str) -> String {
    const SHOWN: usize = 24;
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.into(),
    }
}

/// Names for an error: the first of them, each shortened, and how many more there are.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.into_iter();
    let mut list: Vec<_> = names.by_ref().take(SHOWN).map(|name| format!("`{}`", shortened(name))).collect();
    let more = names.count();
    if more > 0 {
        list.push(format!("{more} more"));
    }
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_words_are_cut_short() {
        assert_eq!(shortened(&"é".repeat(24)), "é".repeat(24));
        assert_eq!(shortened(&"é".repeat(25)), format!("{}…", "é".repeat(24)));
        assert_eq!(listed([]), "");
        assert_eq!(listed(["a", "b"]), "`a`, `b`");
        assert!(listed(["a"; 15]).ends_with("`a`, `a`, 3 more"));
    }
}
