//! The split of rows into those to train on and those held out, and the order of the first.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::interval::clusters;

/// The number of batches whose rows are sorted by length together. More would pad less and shuffle less.
const WINDOW: usize = 16;

/// Holds out a share of the rows, chosen by `seed`: `(train, held_out)`, each in the order of `rows`. Rows of one of the
/// `groups`, which name every row's question, stay together: a row whose question is trained on shows what was memorised.
///
/// The count is rounded to the nearest that whole groups allow, but a share above 0 holds out at least one group where there
/// are two, and a share below 1 leaves at least one to train on. A share outside 0 to 1 is taken as the nearer bound.
///
/// # Panics
/// If `groups` does not name every row.
pub fn hold_out<T>(rows: Vec<T>, groups: &[usize], share: f64, seed: u64) -> (Vec<T>, Vec<T>) {
    assert_eq!(groups.len(), rows.len(), "every row has a group");
    let groups = clusters(groups);
    let mut sizes = vec![0; groups.iter().max().map_or(0, |&last| last + 1)];
    groups.iter().for_each(|&group| sizes[group] += 1);
    let is_taken = taken(&sizes, share, seed);
    let sided = rows.into_iter().zip(groups).map(|(row, group)| (row, !is_taken[group]));
    let (left, taken): (Vec<_>, Vec<_>) = sided.partition(|&(_, stays)| stays);
    (without_marks(left), without_marks(taken))
}

/// The groups that are held out, of groups of these sizes: in a random order every one that brings the count nearer to the share.
fn taken(sizes: &[usize], share: f64, seed: u64) -> Vec<bool> {
    let rows: usize = sizes.iter().sum();
    let mut ranks: Vec<usize> = (0..sizes.len()).collect();
    ranks.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&group| ranks[group]);

    let wanted = ((share * rows as f64).round() as usize).min(rows);
    let mut is_taken = vec![false; sizes.len()];
    let mut count = 0;
    for &group in &order {
        let with = count + sizes[group];
        let is_nearer = with.abs_diff(wanted) <= wanted.saturating_sub(count);
        if is_nearer && (with < rows || share >= 1.0) {
            is_taken[group] = true;
            count = with;
        }
    }
    let smallest = order.iter().min_by_key(|&&group| sizes[group]);
    if let Some(&group) = smallest
        && (count, share > 0.0, sizes.len() > 1) == (0, true, true)
    {
        is_taken[group] = true;
    }
    is_taken
}

/// Takes `count` rows out, and no more than there are: `(left, taken)`.
fn take_out<T>(rows: Vec<T>, count: usize, seed: u64) -> (Vec<T>, Vec<T>) {
    let mut keep: Vec<bool> = (0..rows.len()).map(|row| row >= count).collect();
    keep.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let (left, taken): (Vec<_>, Vec<_>) = rows.into_iter().zip(keep).partition(|&(_, keep)| keep);
    (without_marks(left), without_marks(taken))
}

fn without_marks<T>(rows: Vec<(T, bool)>) -> Vec<T> {
    rows.into_iter().map(|(row, _)| row).collect()
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

    /// Of so many rows that all ask something else.
    fn held_out(rows: usize, share: f64, seed: u64) -> Vec<usize> {
        let each_alone: Vec<usize> = (0..rows).collect();
        hold_out(each_alone.clone(), &each_alone, share, seed).1
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
    fn rows_of_one_question_stay_together() {
        let held_out = |groups: &[usize], share, seed| {
            hold_out((0..groups.len()).collect(), groups, share, seed).1.len()
        };
        for seed in 0..20 {
            let two: Vec<usize> = (0..16).map(|row| row % 2).collect();
            assert_eq!(held_out(&two, 0.25, seed), 8, "one of two, though a quarter was asked for");
            assert_eq!(held_out(&[0; 9], 0.5, seed), 0, "one question cannot be split");
            assert_eq!(held_out(&[0; 9], 1.0, seed), 9);
            // A question of many rows is passed over for others that come nearer.
            let one_large: Vec<usize> = (0..200).map(|row| if row < 100 { 0 } else { row }).collect();
            assert_eq!(held_out(&one_large, 0.1, seed), 20);
            let three: Vec<usize> = (0..300).map(|row| row / 100).collect();
            assert_eq!(held_out(&three, 0.1, seed), 100, "something is held out");
            assert!(matches!(held_out(&[0, 0, 1, 1, 1], 0.9, seed), 2 | 3), "something is left to train on");
        }
        let mut sides: Vec<Vec<usize>> =
            (0..20).map(|seed| hold_out((0..4).collect(), &[7, 7, 3, 3], 0.5, seed).1).collect();
        sides.sort();
        sides.dedup();
        assert_eq!(sides, [[0, 1], [2, 3]]);
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
        fn without_repeated_questions_the_split_is_of_rows(rows in 0usize..300, share in 0.0..1.0, seed: u64) {
            let all: Vec<usize> = (0..rows).collect();
            let (train, held_out) = hold_out(all.clone(), &all, share, seed);
            prop_assert_eq!((train, held_out.clone()), take_out(all, held_out.len(), seed));
            let nearest = (share * rows as f64).round() as usize;
            prop_assert!(held_out.len().abs_diff(nearest) <= 1);
        }

        #[test]
        fn a_split_has_every_row_once_in_order(
            groups in prop::collection::vec(0usize..40, 0..300),
            share in 0.0..1.0,
            seed: u64,
        ) {
            let rows = groups.len();
            let (train, held_out) = hold_out((0..rows).collect(), &groups, share, seed);
            prop_assert_eq!(
                (train.clone(), held_out.clone()),
                hold_out((0..rows).collect(), &groups, share, seed)
            );
            let of = |rows: &[usize]| rows.iter().map(|&row| groups[row]).collect::<std::collections::BTreeSet<_>>();
            prop_assert!(of(&train).is_disjoint(&of(&held_out)));
            let largest = (0..40).map(|group| groups.iter().filter(|&&g| g == group).count()).max();
            let off = (share * rows as f64 - held_out.len() as f64).abs();
            prop_assert!(off <= largest.unwrap_or(0) as f64 + 1.0, "{} held out", held_out.len());
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
