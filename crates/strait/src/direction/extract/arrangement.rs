//! Two classes of rows, and the other ways to divide them that a direction is held against: halves, and shuffled labels.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{interval::clusters, table::Word};

/// Ways to halve the rows.
pub const SPLITS: usize = 50;
/// Ways to shuffle the labels.
pub const SHUFFLES: usize = 1000;
/// The most groups of questions that are left out in turn.
const GROUPS: usize = 20;

/// The taught class, and the other one.
pub const TAUGHT: usize = 0;
const OTHER: usize = 1;

/// Two classes of rows without their numbers: the rows of the taught class come first, then those of the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    /// The rows of each class.
    counts: [usize; 2],
    /// True if row `i` of one class and row `i` of the other answer one question together.
    paired: bool,
    /// The weight of every row, its tokens.
    weights: Vec<f64>,
    /// The question of every row, by number.
    questions: Vec<usize>,
}

/// What is shuffled to see what no difference at all would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffled {
    /// Which answer of each pair is the taught one.
    Pairs,
    /// The labels of the answers to each question.
    Questions,
    /// The labels of all rows, where no question has answers of both classes.
    Rows,
}

impl Word for Shuffled {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Pairs, "pairs"), (Self::Questions, "questions"), (Self::Rows, "rows")];
}

/// The weight of every row in a mean difference: its share of its class, negative in the other class. The weights of each class
/// add up to 1 and -1; all are NaN where a class has no rows.
pub type Coefficients = Vec<f64>;

/// Both halves of the rows, and the same without each group of questions.
pub struct Halves {
    pub whole: [Coefficients; 2],
    pub without: Vec<[Coefficients; 2]>,
}

impl Arrangement {
    /// Of classes whose rows have so many tokens and answer these questions, the same numbers in both classes.
    ///
    /// # Panics
    /// If `paired` classes differ in size: an error of the program.
    pub fn new(tokens: [&[usize]; 2], questions: [&[usize]; 2], paired: bool) -> Self {
        let counts = tokens.map(<[usize]>::len);
        assert!(!paired || counts[TAUGHT] == counts[OTHER], "pairs have two rows each");
        Self {
            counts,
            paired,
            weights: tokens.concat().into_iter().map(|tokens| tokens as f64).collect(),
            questions: clusters(questions.concat()),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.weights.len()
    }

    /// Pairs, where the rows are paired.
    pub fn pairs(&self) -> Option<usize> {
        self.paired.then_some(self.counts[TAUGHT])
    }

    /// The rows as they are.
    pub fn observed(&self) -> Coefficients {
        self.coefficients(|row| Some(self.class(row)))
    }

    fn class(&self, row: usize) -> usize {
        usize::from(row >= self.counts[TAUGHT])
    }

    /// Of the rows that a function gives a class.
    fn coefficients(&self, class: impl Fn(usize) -> Option<usize>) -> Coefficients {
        let classes: Vec<Option<usize>> = (0..self.rows()).map(class).collect();
        let mut sums = [0.0; 2];
        for (class, weight) in classes.iter().zip(&self.weights) {
            class.iter().for_each(|&class| sums[class] += weight);
        }
        if sums.contains(&0.0) {
            return vec![f64::NAN; self.rows()];
        }
        let coefficient = |(class, weight): (&Option<usize>, &f64)| match *class {
            Some(TAUGHT) => weight / sums[TAUGHT],
            Some(_) => -weight / sums[OTHER],
            None => 0.0,
        };
        classes.iter().zip(&self.weights).map(coefficient).collect()
    }

    /// What [`Arrangement::shuffles`] shuffles.
    pub fn shuffled(&self) -> Shuffled {
        if self.paired {
            return Shuffled::Pairs;
        }
        let both = |rows: &Vec<usize>| rows.iter().any(|&row| self.class(row) != self.class(rows[0]));
        if self.by_question().values().any(both) { Shuffled::Questions } else { Shuffled::Rows }
    }

    fn by_question(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, &question) in self.questions.iter().enumerate() {
            rows.entry(question).or_default().push(row);
        }
        rows
    }

    /// The rows under shuffled labels, [`SHUFFLES`] times.
    pub fn shuffles(&self, seed: u64) -> Vec<Coefficients> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let strata: Vec<Vec<usize>> = match self.shuffled() {
            Shuffled::Questions => self.by_question().into_values().collect(),
            Shuffled::Pairs | Shuffled::Rows => vec![(0..self.rows()).collect()],
        };
        let mut shuffle = || {
            let mut classes: Vec<usize> = (0..self.rows()).map(|row| self.class(row)).collect();
            if let Some(pairs) = self.pairs() {
                for pair in (0..pairs).filter(|_| random.random()) {
                    classes.swap(pair, pairs + pair);
                }
            } else {
                for rows in &strata {
                    let mut labels: Vec<usize> = rows.iter().map(|&row| classes[row]).collect();
                    labels.shuffle(&mut random);
                    rows.iter().zip(labels).for_each(|(&row, label)| classes[row] = label);
                }
            }
            self.coefficients(|row| Some(classes[row]))
        };
        (0..SHUFFLES).map(|_| shuffle()).collect()
    }

    /// Random halves of the rows, [`SPLITS`] times: of each class as many rows in either half, and both answers of a pair in the
    /// same. Questions are left out of them in turn, in groups where there are many.
    pub fn splits(&self, seed: u64) -> Vec<Halves> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let questions = self.questions.iter().max().map_or(0, |last| last + 1);
        let mut group: Vec<usize> = (0..questions).map(|question| question % GROUPS).collect();
        group.shuffle(&mut random);
        let mut split = || {
            let mut half = vec![0; self.rows()];
            let [taught, other] = self.counts;
            let ends: &[usize] = if self.paired { &[0, taught] } else { &[0, taught, taught + other] };
            for class in ends.windows(2) {
                let mut order: Vec<usize> = (class[0]..class[1]).collect();
                order.shuffle(&mut random);
                order.iter().skip(order.len() / 2).for_each(|&row| half[row] = 1);
            }
            if let Some(pairs) = self.pairs() {
                half.copy_within(..pairs, pairs);
            }
            let of = |left: Option<usize>| {
                [0, 1].map(|own| {
                    let there = |row: usize| half[row] == own && left != Some(group[self.questions[row]]);
                    self.coefficients(|row| there(row).then(|| self.class(row)))
                })
            };
            Halves {
                whole: of(None),
                without: (0..questions.min(GROUPS)).map(|left| of(Some(left))).collect(),
            }
        };
        (0..SPLITS).map(|_| split()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums of the positive and of the negative coefficients.
    fn sums(coefficients: &[f64]) -> [f64; 2] {
        let sum = |side: f64| coefficients.iter().filter(|x| **x * side > 0.0).sum::<f64>();
        [sum(1.0), sum(-1.0)]
    }

    #[track_caller]
    fn is_a_difference_of_means(coefficients: &[f64]) {
        let [taught, other] = sums(coefficients);
        assert!((taught - 1.0).abs() < 1e-12 && (other + 1.0).abs() < 1e-12, "{coefficients:?}");
    }

    #[test]
    fn every_token_of_a_class_weighs_the_same() {
        let rows = Arrangement::new([&[1, 3], &[2, 2, 4]], [&[0, 1], &[0, 1, 2]], false);
        assert_eq!(rows.observed(), [0.25, 0.75, -0.25, -0.25, -0.5]);
        // A row without a token has no part.
        let rows = Arrangement::new([&[0, 3], &[2]], [&[0, 1], &[2]], false);
        assert_eq!(rows.observed(), [0.0, 1.0, -1.0]);
        let none = Arrangement::new([&[0], &[2]], [&[0], &[1]], false);
        assert!(none.observed().iter().all(|x| x.is_nan()));
    }

    #[test]
    fn pairs_are_swapped_whole_and_stay_in_one_half() {
        let pairs = Arrangement::new([&[1; 7], &[3; 7]], [&[0, 1, 2, 3, 4, 5, 5]; 2], true);
        assert_eq!(pairs.shuffled(), Shuffled::Pairs);
        for shuffle in pairs.shuffles(1) {
            is_a_difference_of_means(&shuffle);
            for pair in 0..7 {
                assert!(shuffle[pair] * shuffle[pair + 7] < 0.0, "one of each pair is the taught one");
            }
        }
        for Halves { whole, without } in pairs.splits(1) {
            whole.iter().for_each(|half| is_a_difference_of_means(half));
            let there = |half: &Coefficients, row: usize| half[row] != 0.0;
            for pair in 0..7 {
                assert_eq!(there(&whole[0], pair), there(&whole[0], pair + 7));
                assert_ne!(there(&whole[0], pair), there(&whole[1], pair));
            }
            assert_eq!(whole[0][..7].iter().filter(|x| **x != 0.0).count(), 3);
            assert_eq!(without.len(), 6, "as many as questions");
            // The last question has two pairs; without it both are gone.
            let left =
                |halves: &[Coefficients; 2]| halves.iter().all(|half| half[5] == 0.0 && half[6] == 0.0);
            assert_eq!(without.iter().filter(|halves| left(halves)).count(), 1);
        }
    }

    #[test]
    fn labels_are_shuffled_within_questions_where_these_have_both() {
        let rows = Arrangement::new([&[1; 4], &[1; 4]], [&[0, 0, 1, 2], &[0, 1, 1, 3]], false);
        assert_eq!(rows.shuffled(), Shuffled::Questions);
        let shuffles = rows.shuffles(2);
        assert_eq!(shuffles.len(), SHUFFLES);
        for shuffle in &shuffles {
            is_a_difference_of_means(shuffle);
            // Of the answers to question 0, which are rows 0, 1 and 4, two are taught; questions 2 and 3 have one answer each.
            let taught = [0, 1, 4].iter().filter(|&&row| shuffle[row] > 0.0).count();
            assert!(taught == 2 && shuffle[3] > 0.0 && shuffle[7] < 0.0, "{shuffle:?}");
        }
        assert!(shuffles.iter().any(|shuffle| shuffle[0] < 0.0));
        assert_eq!(rows.shuffles(2), shuffles);
        assert_ne!(rows.shuffles(3), shuffles);

        let apart = Arrangement::new([&[1; 4], &[1; 4]], [&[0, 1, 2, 3], &[4, 5, 6, 7]], false);
        assert_eq!(apart.shuffled(), Shuffled::Rows);
        assert!(apart.shuffles(1).iter().any(|shuffle| shuffle[0] < 0.0));
        for Halves { whole, .. } in apart.splits(1) {
            let counts = whole.each_ref().map(|half| half.iter().filter(|x| **x > 0.0).count());
            assert_eq!(counts, [2, 2], "as many of a class in either half");
        }
    }
}
