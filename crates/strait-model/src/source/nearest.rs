//! The name that a person may have meant.

/// The candidate that is fewest edits away from `word`, where one is near enough to be meant; case does not count.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near_enough = 2.max(word.chars().count() / 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_where_it_is_near() {
        let names = ["smollm2-135m-instruct", "qwen3-0.6b", "gemma-3-270m"];
        for (word, expected) in [
            ("smollm2-135m", None),
            ("SmolLM2-135M-Instruct", Some("smollm2-135m-instruct")),
            ("smolm2-135-instruct", Some("smollm2-135m-instruct")),
            ("qwen3-06b", Some("qwen3-0.6b")),
            ("gpt2", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }
}
