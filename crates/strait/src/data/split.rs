//! Which rows are held out, and in which order the others come.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// How many batches' rows are sorted by length together. More would pad less and shuffle less.
const WINDOW: usize = 16;

/// Holds out a share of the rows, chosen by `seed` and the number of rows alone: `(train, held_out)`, each in the order
/// of `rows`.
///
/// The count is rounded to the nearest, but a share above 0 holds out at least one row where there are two, and a share
/// below 1 leaves at least one to train on. A share outside 0 to 1 is taken as the nearer bound.
pub fn hold_out<T>(rows: Vec<T>, share: f64, seed: u64) -> (Vec<T>, Vec<T>) {
    let count = match (share * rows.len() as f64).round() as usize {
        0 if share > 0.0 && rows.len() > 1 => 1,
        count if count >= rows.len() && share < 1.0 => rows.len().saturating_sub(1),
        count => count.min(rows.len()),
    };
    take_out(rows, count, seed)
}

/// Takes `count` rows out, and no more than there are: `(left, taken)`.
fn take_out<T>(rows: Vec<T>, count: usize, seed: u64) -> (Vec<T>, Vec<T>) {
    let mut keep: Vec<bool> = (0..rows.len()).map(|row| row >= count).collect();
    keep.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let (left, taken): (Vec<_>, Vec<_>) = rows.into_iter().zip(keep).partition(|&(_, keep)| keep);
    let plain = |rows: Vec<(T, bool)>| rows.into_iter().map(|(row, _)| row).collect();
    (plain(left), plain(taken))
}

/// Chooses `count` rows by `seed` and their number alone, in the order of `rows`; all where there are no more.
pub fn choose<T>(rows: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    take_out(rows, count, seed).1
}

/// Cuts rows into batches of `batch_size` (the last may be smaller) with rows of like length together, so that little
/// padding is computed. Every row comes exactly once; `seed` and `epoch` alone decide the order, which differs between
/// epochs.
///
/// Rows are shuffled, sorted by length within windows of 16 batches, cut, and the batches shuffled.
///
/// # Panics
/// If `batch_size` is 0.
pub fn batches(lengths: &[usize], batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    assert!(batch_size > 0, "a batch has at least one row");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut random);
    for window in order.chunks_mut(WINDOW.saturating_mul(batch_size)) {
        // Stable: rows of equal length stay shuffled.
        window.sort_by_key(|&row| lengths[row]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[_]>::to_vec).collect();
    batches.shuffle(&mut random);
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held_out(rows: usize, share: f64, seed: u64) -> Vec<usize> {
        hold_out((0..rows).collect(), share, seed).1
    }

    /// Runs are repeated years later: a new version of the random crates must not change an order unnoticed.
    #[test]
    fn the_order_of_a_seed_is_fixed() {
        assert_eq!(held_out(10, 0.3, 7), [0, 3, 5]);
        let lengths = [5, 1, 4, 2, 3, 9, 8];
        assert_eq!(batches(&lengths, 3, 7, 0), [vec![2, 0, 6], vec![5], vec![1, 3, 4]]);
        assert_eq!(batches(&lengths, 3, 7, 1), [vec![5], vec![1, 3, 4], vec![2, 0, 6]]);
    }

    #[test]
    fn the_held_out_count_is_sensible_at_the_edges() {
        let held_out = |rows, share| held_out(rows, share, 1).len();
        assert_eq!(held_out(100, 0.1), 10);
        assert_eq!(held_out(100, 0.0), 0);
        assert_eq!(held_out(100, 0.001), 1);
        assert_eq!(held_out(100, 0.999), 99);
        assert_eq!(held_out(100, 1.0), 100);
        assert_eq!(held_out(2, 0.1), 1);
        assert_eq!(held_out(1, 0.1), 0);
        assert_eq!(held_out(1, 0.9), 0);
        assert_eq!(held_out(0, 0.5), 0);
        assert_eq!(held_out(3, -1.0), 0);
        assert_eq!(held_out(3, 2.0), 3);
        assert_eq!(held_out(3, f64::NAN), 0);
    }

    #[test]
    fn batches_hold_rows_of_like_length() {
        let lengths: Vec<usize> = (0..640).map(|row| row * 7919 % 640).collect();
        let padded = |batches: &[Vec<usize>]| -> usize {
            let longest = |batch: &Vec<usize>| batch.iter().map(|&row| lengths[row]).max();
            batches.iter().map(|batch| longest(batch).unwrap_or(0) * batch.len()).sum()
        };
        let in_file_order: Vec<_> = (0..640).collect::<Vec<_>>().chunks(4).map(<[_]>::to_vec).collect();
        let content: usize = lengths.iter().sum();
        let waste = padded(&batches(&lengths, 4, 3, 0)) - content;
        let plain_waste = padded(&in_file_order) - content;
        assert!(waste * 8 < plain_waste, "{waste} against {plain_waste}");
    }

    proptest! {
        #[test]
        fn a_choice_has_so_many_rows_in_order(rows in 0usize..300, count in 0usize..400, seed: u64) {
            let chosen = choose((0..rows).collect(), count, seed);
            prop_assert_eq!(&chosen, &choose((0..rows).collect(), count, seed));
            prop_assert_eq!(chosen.len(), count.min(rows));
            prop_assert!(chosen.windows(2).all(|two| two[0] < two[1]));
        }

        #[test]
        fn a_split_has_every_row_once_in_order(rows in 0usize..300, share in 0.0..1.0, seed: u64) {
            let (train, held_out) = hold_out((0..rows).collect(), share, seed);
            prop_assert_eq!((train.clone(), held_out.clone()), hold_out((0..rows).collect(), share, seed));
            prop_assert!(train.is_sorted() && held_out.is_sorted());
            let mut all = [train, held_out].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }

        #[test]
        fn an_epoch_has_every_row_once(
            lengths in prop::collection::vec(0usize..50, 0..300),
            batch_size in 1usize..9,
            seed: u64,
            epoch in 0u64..4,
        ) {
            let cut = batches(&lengths, batch_size, seed, epoch);
            prop_assert_eq!(&cut, &batches(&lengths, batch_size, seed, epoch));
            let short = cut.iter().filter(|batch| batch.len() < batch_size).count();
            prop_assert!(short <= 1 && cut.iter().all(|batch| (1..=batch_size).contains(&batch.len())));
            let mut all = cut.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        }

        #[test]
        fn epochs_differ(seed: u64) {
            let lengths = [3; 64];
            prop_assert_ne!(batches(&lengths, 4, seed, 0), batches(&lengths, 4, seed, 1));
        }
    }
}
