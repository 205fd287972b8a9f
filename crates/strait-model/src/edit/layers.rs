//! Lists of layers.

use std::collections::BTreeSet;

/// Layers in words, `-1, 3 to 7, 9`: those that follow each other are drawn together.
pub fn layers_in_words(layers: &[i32]) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &layer in layers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == layer => *last = layer,
            _ => runs.push((layer, layer)),
        }
    }
    let run = |(first, last): (i32, i32)| {
        if first == last { first.to_string() } else { format!("{first} to {last}") }
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(", ")
}

/// Each layer once, in order.
pub(super) fn ascending(layers: impl IntoIterator<Item = i32>) -> Vec<i32> {
    layers.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_follow_each_other_are_drawn_together() {
        assert_eq!(layers_in_words(&[]), "");
        assert_eq!(layers_in_words(&ascending([9, 4, -1, 3, 5, 4])), "-1, 3 to 5, 9");
    }
}
