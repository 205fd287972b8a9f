//! The coverage of the 95 % intervals by simulation: the table of `docs/src/measures/intervals.md`.
//!
//! `UPDATE=1 cargo test --release -p strait --test it coverage` draws ten thousand samples for each figure and writes the table
//! anew, in a minute or two. Without it the test draws fewer, holds them against the bar, and against what the book says.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution, Exp1, LogNormal, StandardNormal, StudentT};
use rayon::prelude::*;
use strait::interval::{Interval, clusters, deviation, rank_correlation, student};

/// Numbers of questions, pairs, seeds or worlds in a sample.
const SIZES: [usize; 8] = [2, 3, 4, 5, 8, 10, 20, 50];
/// The coverage that every interval must reach that is given at all.
const BAR: f64 = 0.93;
/// Samples behind a figure of the book, and behind one of the test.
const MANY: usize = 10_000;
const FEW: usize = 300;

/// The distribution of values about their mean, in units of their deviation.
#[derive(Clone, Copy)]
enum Shape {
    Normal,
    /// Exponential: a long tail to one side.
    Skewed,
    /// Student's with three degrees of freedom: rare values far out.
    Heavy,
    /// Log-normal with a sigma of 1.
    VerySkewed,
}
use Shape::{Heavy, Normal, Skewed, VerySkewed};

impl Shape {
    fn draw(self, random: &mut ChaCha8Rng) -> f64 {
        match self {
            Normal => StandardNormal.sample(random),
            Skewed => {
                let x: f64 = Exp1.sample(random);
                x - 1.0
            }
            Heavy => StudentT::new(3.0).unwrap().sample(random) / 3f64.sqrt(),
            VerySkewed => {
                let e = std::f64::consts::E;
                (LogNormal::new(0.0, 1.0).unwrap().sample(random) - e.sqrt()) / ((e - 1.0) * e).sqrt()
            }
        }
    }

    fn some(self, n: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
        (0..n).map(|_| self.draw(random)).collect()
    }
}

/// Draws a sample of a size: its interval, and what it should hold.
type Draw = fn(Shape, usize, &mut ChaCha8Rng) -> (Interval, f64);

/// One row of a table.
struct Kind {
    name: &'static str,
    shape: Shape,
    draw: Draw,
    /// True if it must reach the bar.
    barred: bool,
}

fn mean(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    (Interval::of_mean(&shape.some(n, random)), 0.0)
}

/// One to eight pairs a question, half of the variance between questions.
fn unequal(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let (mut values, mut questions) = (Vec::new(), Vec::new());
    for question in 0..n {
        let own = shape.draw(random);
        for _ in 0..random.random_range(1..=8) {
            values.push((own + shape.draw(random)) / 2f64.sqrt());
            questions.push(question);
        }
    }
    (Interval::of_clusters(&values, &vec![1.0; values.len()], &questions), 0.0)
}

/// Rows weighted by their tokens, of which the longest has twenty times as many as the shortest.
fn weighted(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let tokens: Vec<f64> = (0..n).map(|_| (random.random::<f64>() * 20f64.ln()).exp()).collect();
    let rows = clusters(0..n);
    (Interval::of_clusters(&shape.some(n, random), &tokens, &rows), 0.0)
}

/// Questions of five domains that differ in their means, as many of each; other sizes are not drawn.
fn nested(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    if !n.is_multiple_of(5) {
        return (Interval::NONE, 0.0);
    }
    let values: Vec<f64> = (0..n).map(|i| shape.draw(random) + 0.5 * ((i % 5) as f64 - 2.0)).collect();
    (Interval::of_mean(&values), 0.0)
}

/// Two solutions read on the same questions, each with its own part of what a question brings.
fn paired(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let difference = |_| {
        let question = shape.draw(random);
        (question + shape.draw(random)) - (0.5 * question + shape.draw(random))
    };
    (Interval::of_mean(&(0..n).map(difference).collect::<Vec<_>>()), 0.0)
}

/// A quarter of the shift inside, three deviations large, is the shift outside, with as many questions each.
fn ratio(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let mut about = |mean: f64| {
        Interval::of_mean(&shape.some(n, random).into_iter().map(|x| mean + x).collect::<Vec<_>>())
    };
    let (inside, outside) = (about(3.0), about(0.75));
    (outside.over(inside), 0.25)
}

/// As before; what is covered is that the upper bound, which a certificate asks for, is not below the true share.
fn certificate(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let (share, truth) = ratio(shape, n, random);
    (Interval { low: if share.is_known() { f64::NEG_INFINITY } else { f64::NAN }, ..share }, truth)
}

/// Spearman's correlation of pairs that correlate by 0.6 (Pearson), in the tails too where they are heavy.
fn ranks(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let pair = |_| {
        let (x, noise) = match shape {
            Heavy => (Normal.draw(random), Normal.draw(random)),
            _ => (shape.draw(random), shape.draw(random)),
        };
        let stretch: f64 = match shape {
            Heavy => {
                let square: f64 = ChiSquared::new(3.0).unwrap().sample(random);
                (3.0 / square).sqrt()
            }
            _ => 1.0,
        };
        (stretch * x, stretch * (0.6 * x + 0.8 * noise))
    };
    // The first is 6 / pi asin(0.6 / 2); the others are means over twenty million pairs.
    let truth = match shape {
        Skewed => SKEWED_RANKS,
        Heavy => HEAVY_RANKS,
        _ => 0.581_94,
    };
    (rank_correlation(&(0..n).map(pair).collect::<Vec<_>>()), truth)
}

const SKEWED_RANKS: f64 = 0.584_8;
const HEAVY_RANKS: f64 = 0.561_6;

fn unrelated(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let pair = |_| (shape.draw(random), shape.draw(random));
    (rank_correlation(&(0..n).map(pair).collect::<Vec<_>>()), 0.0)
}

/// The area under the ROC curve of so many answers of each kind to every question; half of the variance is between questions.
/// Normal scores of the kinds lie this far apart.
fn area(apart: f64, each: usize, n: usize, random: &mut ChaCha8Rng) -> Interval {
    let (mut scores, mut kinds, mut questions) = (Vec::new(), Vec::new(), Vec::new());
    for question in 0..n {
        let own = Normal.draw(random);
        for i in 0..2 * each {
            let positive = i % 2 == 0;
            scores.push((own + Normal.draw(random)) / 2f64.sqrt() + if positive { apart } else { 0.0 });
            kinds.push(positive);
            questions.push(question);
        }
    }
    Interval::of_auroc(&scores, &kinds, &questions)
}

// Scores of two questions differ with a variance of 2: the areas are those of the normal distribution at these over the root of 2.
const NINE_TENTHS: f64 = 1.812_388;
const NEARLY_ALL: f64 = 2.904_432;

fn area_of_pairs(_: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    (area(NINE_TENTHS, 1, n, random), 0.9)
}

fn large_area_of_pairs(_: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    (area(NEARLY_ALL, 1, n, random), 0.98)
}

fn area_of_many(_: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    (area(NINE_TENTHS, 5, n, random), 0.9)
}

/// Exponential scores, whose kinds lie apart by the logarithm of 5.
fn skewed_area(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let kinds: Vec<bool> = (0..2 * n).map(|i| i % 2 == 0).collect();
    let score = |positive: &bool| shape.draw(random) + if *positive { 5f64.ln() } else { 0.0 };
    let scores: Vec<f64> = kinds.iter().map(score).collect();
    (Interval::of_auroc(&scores, &kinds, &clusters((0..2 * n).map(|i| i / 2))), 0.9)
}

/// Two scores of the same answers, of which the second is the first with noise.
fn area_difference(_: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let (mut scores, mut others, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..2 * n {
        let positive = i % 2 == 0;
        let score = Normal.draw(random) + if positive { NINE_TENTHS } else { 0.0 };
        scores.push(score);
        // Noise of the same variance leaves a half of the distance in units of what scores differ by.
        others.push(score + Normal.draw(random));
        kinds.push(positive);
    }
    let questions = clusters((0..2 * n).map(|i| i / 2));
    (Interval::of_auroc_difference(&scores, &others, &kinds, &questions), 0.9 - 0.817_583)
}

/// Independent trials, one in five of which comes out.
fn count(_: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let hits = (0..n).filter(|_| random.random_bool(0.2)).count();
    (Interval::of_count(hits as u64, n as u64), 0.2)
}

/// The interval of an older strait: the middle 95 % of the means of resamples.
fn percentile_bootstrap(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    const RESAMPLES: usize = 400;
    let values = shape.some(n, random);
    let resample = |_| (0..n).map(|_| values[random.random_range(0..n)]).sum::<f64>() / n as f64;
    let mut means: Vec<f64> = (0..RESAMPLES).map(resample).collect();
    means.sort_by(f64::total_cmp);
    let end = RESAMPLES / 40;
    (Interval { value: f64::NAN, low: means[end - 1], high: means[RESAMPLES - end] }, 0.0)
}

fn plain_student(shape: Shape, n: usize, random: &mut ChaCha8Rng) -> (Interval, f64) {
    let values = shape.some(n, random);
    let value = values.iter().sum::<f64>() / n as f64;
    let half = student(0.95, (n - 1) as f64) * deviation(&values) / (n as f64).sqrt();
    (Interval { value, low: value - half, high: value + half }, 0.0)
}

fn kinds() -> Vec<Kind> {
    let row = |name, shape, draw, barred| Kind { name, shape, draw, barred };
    vec![
        row("mean, normal", Normal, mean as Draw, true),
        row("mean, skewed", Skewed, mean, true),
        row("mean, heavy-tailed", Heavy, mean, true),
        row("mean of unequal clusters, normal", Normal, unequal, true),
        row("mean of unequal clusters, skewed", Skewed, unequal, true),
        row("mean of unequal clusters, heavy-tailed", Heavy, unequal, true),
        row("mean weighted by tokens, normal", Normal, weighted, true),
        row("mean weighted by tokens, skewed", Skewed, weighted, true),
        row("mean weighted by tokens, heavy-tailed", Heavy, weighted, true),
        row("mean over five domains, normal", Normal, nested, true),
        row("mean over five domains, skewed", Skewed, nested, true),
        row("paired difference, normal", Normal, paired, true),
        row("paired difference, skewed", Skewed, paired, true),
        row("paired difference, heavy-tailed", Heavy, paired, true),
        row("outside / inside, normal", Normal, ratio, true),
        row("outside / inside, skewed", Skewed, ratio, true),
        row("outside / inside, heavy-tailed", Heavy, ratio, true),
        row("certificate's bound, normal", Normal, certificate, true),
        row("certificate's bound, skewed", Skewed, certificate, true),
        row("certificate's bound, heavy-tailed", Heavy, certificate, true),
        row("rank correlation of 0, normal", Normal, unrelated, true),
        row("rank correlation, normal", Normal, ranks, true),
        row("rank correlation, skewed", Skewed, ranks, true),
        row("rank correlation, heavy-tailed", Heavy, ranks, true),
        row("AUROC of 0.9, a pair a question", Normal, area_of_pairs, true),
        row("AUROC of 0.98, a pair a question", Normal, large_area_of_pairs, true),
        row("AUROC of 0.9, five pairs a question", Normal, area_of_many, true),
        row("AUROC of 0.9, skewed", Skewed, skewed_area, true),
        row("difference of two AUROCs", Normal, area_difference, true),
        row("share of trials, one in five", Normal, count, true),
        row("mean, very skewed", VerySkewed, mean, false),
        row("percentile bootstrap, normal", Normal, percentile_bootstrap, false),
        row("percentile bootstrap, skewed", Skewed, percentile_bootstrap, false),
        row("percentile bootstrap, heavy-tailed", Heavy, percentile_bootstrap, false),
        row("Student's, normal", Normal, plain_student, false),
        row("Student's, skewed", Skewed, plain_student, false),
        row("Student's, heavy-tailed", Heavy, plain_student, false),
    ]
}

/// Shares of samples: with an interval, and of these with one that holds the truth.
#[derive(Clone, Copy)]
struct Cell {
    given: f64,
    covers: f64,
}

impl Cell {
    fn of(kind: &Kind, n: usize, samples: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(n as u64);
        let (mut given, mut covers) = (0, 0);
        for _ in 0..samples {
            let (interval, truth) = (kind.draw)(kind.shape, n, &mut random);
            if interval.is_known() {
                given += 1;
                covers += usize::from(interval.low <= truth && truth <= interval.high);
            }
        }
        Self { given: given as f64 / samples as f64, covers: covers as f64 / given as f64 }
    }

    fn words(self) -> String {
        match self.given {
            0.0 => "none".into(),
            1.0 => format!("{:.1}", 100.0 * self.covers),
            given => format!("{:.1} ({:.0})", 100.0 * self.covers, 100.0 * given),
        }
    }
}

/// Every kind at every size.
fn simulated(samples: usize) -> Vec<(Kind, Vec<Cell>)> {
    let of = |kind: Kind| {
        let cells = SIZES.into_par_iter().map(|n| Cell::of(&kind, n, samples)).collect();
        (kind, cells)
    };
    kinds().into_par_iter().map(of).collect()
}

const BEGIN: &str = "<!-- coverage: written by tests/it/coverage.rs -->";
const END: &str = "<!-- end -->";

fn page() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/measures/intervals.md");
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

fn table(rows: &[(Kind, Vec<Cell>)]) -> String {
    let mut table = format!("| interval | {} |\n|---|", SIZES.map(|n| format!("n = {n}")).join(" | "));
    table.push_str(&"---|".repeat(SIZES.len()));
    for (kind, cells) in rows {
        let cells: Vec<_> = cells.iter().map(|cell| cell.words()).collect();
        write!(table, "\n| {} | {} |", kind.name, cells.join(" | ")).unwrap();
    }
    table
}

/// Per cent that the book says of every kind at every size; none where no interval is given.
fn said(page: &str) -> BTreeMap<String, Vec<Option<f64>>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().to_string();
        (name, cells.map(|cell| cell.split(' ').next()?.parse().ok()).collect())
    })
    .collect()
}

#[test]
fn intervals_cover_what_they_say() {
    let update = std::env::var_os("UPDATE").is_some();
    let samples = if update { MANY } else { FEW };
    let rows = simulated(samples);
    if update {
        let (path, text) = page();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, behind) = rest.split_once(END).unwrap();
        fs::write(path, format!("{before}{BEGIN}\n\n{}\n\n{END}{behind}", table(&rows))).unwrap();
    }
    let said = said(&page().1);
    for (kind, cells) in &rows {
        for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.given * samples as f64 > 100.0)
        {
            let at = format!("{} at n = {}: {}", kind.name, SIZES[place], cell.words());
            let error = (0.95 * 0.05 / (cell.given * samples as f64)).sqrt();
            // Fewer samples are off by more.
            let bar = if update { BAR } else { BAR - 3.0 * error };
            assert!(!kind.barred || cell.covers >= bar, "{at}");
            let book =
                said[kind.name][place].unwrap_or_else(|| panic!("{at}, of which the book says nothing"));
            assert!(!kind.barred || book >= 100.0 * BAR, "{at}, where the book says {book}");
            let near = 5.0 * (book / 100.0 * (1.0 - book / 100.0)).max(0.01).sqrt()
                / (cell.given * samples as f64).sqrt();
            assert!((cell.covers - book / 100.0).abs() < near + 0.002, "{at}, where the book says {book}");
        }
        let few = SIZES.iter().zip(cells).filter(|(n, _)| **n < 3);
        assert!(
            !kind.barred
                || kind.name.starts_with("share")
                || few.into_iter().all(|(_, cell)| cell.given == 0.0)
        );
    }
}
