use std::ops::Range;

use gemm::Parallelism;
use half::bf16;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};

use super::*;

/// The layout of an operand's numbers.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Rows,
    Columns,
    /// Rows with room behind each.
    Apart,
    /// Columns with room behind each.
    ColumnsApart,
    /// Neither the numbers of a row nor those of a column are neighbours.
    Strided,
}

const LIES: [Lie; 5] = [Lie::Rows, Lie::Columns, Lie::Apart, Lie::ColumnsApart, Lie::Strided];

/// An operand as f32 and as bf16.
struct Operand {
    numbers: Vec<f32>,
    rounded: Vec<bf16>,
    row: usize,
    column: usize,
    is_rounded: bool,
}

impl Operand {
    fn new(seed: u64, (rows, columns): (usize, usize), lie: Lie, is_rounded: bool) -> Self {
        let (row, column) = match lie {
            Lie::Rows => (columns, 1),
            Lie::Columns => (1, rows),
            Lie::Apart => (columns + 5, 1),
            Lie::ColumnsApart => (1, rows + 3),
            Lie::Strided => (3 * columns + 2, 3),
        };
        let length = if rows * columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let numbers: Vec<f32> = (0..length).map(|_| rng.random_range(-1.0..1.0)).collect();
        let rounded = numbers.iter().map(|&x| bf16::from_f32(x)).collect();
        Self { numbers, rounded, row, column, is_rounded }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.rounded[i * self.row + j * self.column].to_f64()
    }
}

/// Asserts what products may ask of a source.
impl Source for Operand {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        View { numbers: &self.numbers, row: self.row, column: self.column }.holds(rows, columns)
    }

    fn lines(&self) -> Lines {
        View { numbers: &self.numbers, row: self.row, column: self.column }.lines()
    }

    fn read(&self, lines: Range<usize>, numbers: Range<usize>, to: &mut [bf16], to_line: usize) {
        assert!(
            lines.len() <= READ_LINES && numbers.len() <= READ_NUMBERS && numbers.start.is_multiple_of(32)
        );
        if self.is_rounded {
            let view = View { numbers: &self.rounded[..], row: self.row, column: self.column };
            Source::read(&view, lines, numbers, to, to_line);
        } else {
            let view = View { numbers: &self.numbers[..], row: self.row, column: self.column };
            Source::read(&view, lines, numbers, to, to_line);
        }
    }

    fn in_memory(&self) -> Option<(&[bf16], usize)> {
        let neighbours = self.row == 1 || self.column == 1;
        let line = if self.column == 1 || self.row != 1 { self.row } else { self.column };
        (self.is_rounded && neighbours).then_some((&self.rounded, line))
    }
}

struct Case {
    shape: (usize, usize, usize),
    lies: (Lie, Lie),
    rounded: (bool, bool),
    keep: f32,
    factor: f32,
}

/// Compares every kernel with sums in f64 of the rounded operands.
fn check(case: &Case) {
    let (m, n, k) = case.shape;
    let a = Operand::new(1, (m, k), case.lies.0, case.rounded.0);
    let b = Operand::new(2, (k, n), case.lies.1, case.rounded.1);
    let to_row = n + 3;
    // What is not kept must not matter, and what stands between rows must stay.
    let before: Vec<f32> =
        (0..m * to_row).map(|i| if case.keep == 0.0 { f32::NAN } else { (i % 7) as f32 - 3.0 }).collect();
    let expected: Vec<(f64, f64)> = (0..m * to_row)
        .map(|place| (place / to_row, place % to_row, f64::from(before[place])))
        .map(|(i, j, before)| {
            let terms = (0..if j < n { k } else { 0 }).map(|q| a.at(i, q) * b.at(q, j));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + f64::abs(x)));
            let kept = if case.keep == 0.0 { 0.0 } else { f64::from(case.keep) * before };
            let factor = f64::from(case.factor);
            // Every sum is rounded to 24 bits, in the worst case in one direction.
            let tolerance = (k as f64 + 4.0) * 2f64.powi(-24) * (kept.abs() + factor.abs() * size);
            (kept + factor * sum, tolerance)
        })
        .collect();
    for &kernel in Kernel::available() {
        let product = |parallelism| {
            let mut to = before.clone();
            kernel.matmul(case.shape, &mut to, to_row, case.keep, &a, &b, case.factor, parallelism);
            to
        };
        let to = product(Parallelism::None);
        for (place, (&x, (expected, tolerance))) in to.iter().zip(&expected).enumerate() {
            let (i, j) = (place / to_row, place % to_row);
            if j < n {
                let difference = (f64::from(x) - expected).abs();
                assert!(
                    difference <= *tolerance,
                    "{kernel} at {i}, {j} of {:?}: {x} for {expected}",
                    case.shape
                );
            } else {
                assert!(x.to_bits() == before[place].to_bits(), "{kernel} wrote between rows");
            }
        }
        let threaded = product(Parallelism::Rayon(rayon::current_num_threads()));
        assert!(to.iter().zip(&threaded).all(|(x, y)| x.to_bits() == y.to_bits()), "{kernel} and threads");
    }
}

fn with_three_threads(f: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(f);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_kernel_computes_the_product(
        shape in (0..140usize, 0..140usize, 0..140usize),
        lies in (0..LIES.len(), 0..LIES.len()),
        rounded in any::<(bool, bool)>(),
        keep in prop_oneof![Just(0f32), Just(1.0), Just(-0.5)],
        factor in prop_oneof![Just(1f32), Just(0.25), Just(-3.0)],
    ) {
        let lies = (LIES[lies.0], LIES[lies.1]);
        with_three_threads(|| check(&Case { shape, lies, rounded, keep, factor }));
    }
}

/// Sizes beyond what is packed at once, and products that threads divide.
#[test]
fn large_products_are_put_together_from_pieces() {
    let shapes = [
        (700, 37, 65),
        (900, 700, 40),
        (33, 530, 1602),
        (5, 600, 800),
        (64, 257, 1600),
        (160, 160, 160),
        (1, 1200, 640),
        (1, 530, 1602),
    ];
    for shape in shapes {
        for lies in [(Lie::Rows, Lie::Columns), (Lie::Rows, Lie::Rows), (Lie::Columns, Lie::Rows)] {
            for (rounded, keep, factor) in [((false, true), 0.0, 1.0), ((true, false), 1.0, 0.5)] {
                with_three_threads(|| check(&Case { shape, lies, rounded, keep, factor }));
            }
        }
    }
}

#[test]
fn nothing_is_added_where_there_is_no_depth() {
    for &kernel in Kernel::available() {
        for (keep, expected) in [(0.0, [0.0, 7.0, 0.0, 7.0]), (0.5, [3.5, 7.0, 3.5, 7.0])] {
            let mut to = [7.0; 4];
            let empty = View::rows(&[0f32; 0][..], 0);
            kernel.matmul((2, 1, 0), &mut to, 2, keep, &empty, &empty, 1.0, Parallelism::None);
            assert_eq!(to, expected);
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for &kernel in Kernel::available() {
        for (x, y) in [(f32::INFINITY, 1.0), (f32::NAN, 0.0), (f32::INFINITY, 0.0)] {
            let mut a = [1f32; 3 * 40];
            a[40 + 7] = x;
            let b = vec![y; 40 * 5];
            let mut to = [0f32; 3 * 5];
            let (a, b) = (View::rows(&a[..], 40), View::rows(&b[..], 5));
            kernel.matmul((3, 5, 40), &mut to, 5, 0.0, &a, &b, 1.0, Parallelism::None);
            for (i, row) in to.chunks(5).enumerate() {
                assert!(row.iter().all(|z| z.is_finite() == (i != 1)), "{kernel}: {row:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "reads outside its operands")]
fn an_operand_that_is_too_small_is_refused() {
    let x = [0f32; 5];
    let view = View::rows(&x[..], 3);
    matmul((2, 2, 3), &mut [0.0; 4], 2, 0.0, &view, &view, 1.0, Parallelism::None);
}

#[test]
#[should_panic(expected = "writes outside its result")]
fn a_result_that_is_too_small_is_refused() {
    let x = [0f32; 9];
    let view = View::rows(&x[..], 3);
    matmul((2, 2, 3), &mut [0.0; 3], 2, 0.0, &view, &view, 1.0, Parallelism::None);
}
