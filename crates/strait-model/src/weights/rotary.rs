//! The order of the rows that are rotated, which differs between Hugging Face's files and llama.cpp's.

/// Puts the rows of each head into the order of Hugging Face: the first of every rotary pair, then the second of each.
/// Files for llama.cpp have the two of a pair side by side.
///
/// # Shapes
/// - `weights`, result: `(heads * head_dim, row)`
pub(crate) fn split_rotary_pairs(weights: &[f32], head_dim: usize, row: usize) -> Vec<f32> {
    let mut split = Vec::with_capacity(weights.len());
    for head in weights.chunks_exact(head_dim * row) {
        for side in [0, 1] {
            let rows = head.chunks_exact(row).skip(side).step_by(2);
            rows.for_each(|row| split.extend_from_slice(row));
        }
    }
    split
}

/// Puts the rows of each head into the order of llama.cpp: undoes [`split_rotary_pairs`].
///
/// # Shapes
/// - `weights`, result: `(heads * head_dim, row)`
pub(crate) fn pair_rotary_halves(weights: &[f32], head_dim: usize, row: usize) -> Vec<f32> {
    let mut paired = Vec::with_capacity(weights.len());
    for head in weights.chunks_exact(head_dim * row) {
        let (first, second) = head.split_at(head_dim / 2 * row);
        for (first, second) in first.chunks_exact(row).zip(second.chunks_exact(row)) {
            paired.extend_from_slice(first);
            paired.extend_from_slice(second);
        }
    }
    paired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_halves_are_each_others_way_back() {
        // Two heads of four rows, each of two numbers.
        let rows = [0, 1, 2, 3, 10, 11, 12, 13];
        let weights: Vec<f32> = rows.iter().flat_map(|&row| [row as f32, row as f32 + 0.5]).collect();
        let split = split_rotary_pairs(&weights, 4, 2);
        let firsts: Vec<f32> = split.iter().copied().step_by(2).collect();
        assert_eq!(firsts, [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0]);
        assert_eq!(pair_rotary_halves(&split, 4, 2), weights);
    }
}
