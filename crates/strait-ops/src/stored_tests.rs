//! Products with matrices that stay in their file.

use candle_core::{Device, Tensor, Var, quantized::GgmlDType};
use gemm::Parallelism;
use half::bf16;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Linear, Precision, View, Weight, cpu, linear, linear_by_row,
    product::{self, Kernel, StoredView},
};
use crate::stored::tests::{TYPES, bits, by_candle, bytes, stored};

fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Forwards and backwards, by every kernel: the product with blocks is that with their numbers in memory, to the last bit.
    #[test]
    fn products_are_those_of_the_widened_matrix(
        dtype in 0..TYPES.len(), tokens in 1..90usize, rows in 2..300usize, blocks in 1..4usize, seed: u64,
        first in 0..2usize,
    ) {
        let (dtype, width) = (TYPES[dtype], 256 * blocks);
        let matrix = stored(dtype, seed, (rows, width), None);
        let wide = by_candle(dtype, &bytes(dtype, seed, (rows, width)), rows * width);
        let mut rounded = vec![bf16::ZERO; wide.len()];
        product::round(&wide, &mut rounded);
        let (view, all) = (StoredView::of(&matrix).from_row(first), &wide[first * width..]);
        let rows = rows - first;
        for backwards in [false, true] {
            let (n, k) = if backwards { (width, rows) } else { (rows, width) };
            let x = random(seed, tokens * k);
            let a = View::rows(&x[..], k);
            let b = if backwards { view } else { view.t() };
            let (mut y, mut expected) = (vec![0f32; tokens * n], vec![0f32; tokens * n]);
            for &kernel in Kernel::available() {
                let of = View::rows(&rounded[first * width..], width);
                let of = if backwards { of } else { of.t() };
                let threads = cpu::all_threads();
                kernel.matmul((tokens, n, k), &mut y, n, 0.0, &a, &b, 1.0, threads);
                // From a view that does not lie in memory as the kernel would have it, as blocks do not.
                let f32s = View::rows(all, width);
                let f32s = if backwards { f32s } else { f32s.t() };
                let in_memory = dtype == GgmlDType::BF16;
                if in_memory {
                    kernel.matmul((tokens, n, k), &mut expected, n, 0.0, &a, &of, 1.0, threads);
                } else {
                    kernel.matmul((tokens, n, k), &mut expected, n, 0.0, &a, &f32s, 1.0, threads);
                }
                prop_assert_eq!(bits(&y), bits(&expected));
            }
            let f32s = View::rows(all, width);
            let f32s = if backwards { f32s } else { f32s.t() };
            product::multiply_wide(
                (tokens, n, k), &mut y, n, 0.0, a, b, 1.0, Parallelism::None);
            cpu::matmul((tokens, n, k), &mut expected, n, 0.0, a, f32s, 1.0, Parallelism::None);
            prop_assert_eq!(bits(&y), bits(&expected));
        }
    }

    /// By rows: as with the numbers in memory, too, and a row is what it is alone.
    #[test]
    fn few_rows_are_those_of_the_widened_matrix(
        dtype in 0..TYPES.len(), count in 1..9usize, rows in 1..200usize, blocks in 1..4usize, seed: u64,
    ) {
        let (dtype, width) = (TYPES[dtype], 256 * blocks);
        let stored = Weight::Stored(stored(dtype, seed, (rows, width), None));
        let wide = stored.tensor().unwrap();
        let x = Tensor::from_vec(random(seed, count * width), (count, width), &Device::Cpu).unwrap();
        for precision in Precision::ALL {
            let kept = precision.keep(wide.clone()).unwrap().into();
            let numbers = |weight: &Weight, x: &Tensor| {
                let projection = Linear { weight: weight.clone(), bias: None, precision };
                bits(&linear_by_row(x, &projection).unwrap().flatten_all().unwrap().to_vec1().unwrap())
            };
            let found = numbers(&stored, &x);
            prop_assert_eq!(&found, &numbers(&kept, &x));
            for i in 0..count {
                let alone = numbers(&stored, &x.narrow(0, i, 1).unwrap());
                prop_assert_eq!(&alone, &found[i * rows..][..rows]);
            }
        }
    }
}

#[test]
fn gradients_pass_through_blocks() {
    let matrix = stored(GgmlDType::Q4K, 5, (300, 256), None);
    let weight = Weight::Stored(matrix);
    for precision in Precision::ALL {
        let in_memory = Weight::Tensor(weight.tensor().unwrap());
        let all = [weight.clone(), in_memory].map(|weight| {
            let x = Tensor::from_vec(random(7, 40 * 256), (40, 256), &Device::Cpu);
            let x = Var::from_tensor(&x.unwrap()).unwrap();
            let y = linear(&x, &Linear { weight, bias: None, precision }).unwrap();
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&x).expect("a gradient").flatten_all().unwrap().to_vec1().unwrap();
            (bits(&y.flatten_all().unwrap().to_vec1().unwrap()), bits(&gradient))
        });
        assert!(all[0] == all[1], "{precision:?}");
    }
}

/// A product in f32 widens so many numbers at once; where it cuts shows in no bit.
#[test]
fn products_in_f32_are_those_of_a_copy_however_they_are_cut() {
    for (rows, width) in [(14_000, 512), (1100, 8960)] {
        let matrix = stored(GgmlDType::Q8_0, 6, (rows, width), None);
        let wide = by_candle(GgmlDType::Q8_0, &bytes(GgmlDType::Q8_0, 6, (rows, width)), rows * width);
        for (tokens, threads) in [(1, Parallelism::None), (3, cpu::all_threads()), (70, cpu::all_threads())] {
            for backwards in [false, true] {
                let (n, k) = if backwards { (width, rows) } else { (rows, width) };
                let x = random(7, tokens * k);
                let a = View::rows(&x[..], k);
                let (blocks, copy) = (StoredView::of(&matrix), View::rows(&wide[..], width));
                let (blocks, copy) = if backwards { (blocks, copy) } else { (blocks.t(), copy.t()) };
                let (mut y, mut expected) = (vec![0f32; tokens * n], vec![0f32; tokens * n]);
                product::multiply_wide((tokens, n, k), &mut y, n, 0.0, a, blocks, 1.0, threads);
                cpu::matmul((tokens, n, k), &mut expected, n, 0.0, a, copy, 1.0, threads);
                assert!(bits(&y) == bits(&expected), "{tokens} x {n} x {k}");
            }
        }
    }
}

#[test]
fn products_of_blocks_have_the_bits_of_those_of_their_numbers() {
    for dtype in TYPES {
        for (shape, paired) in [((33, 768), None), ((48, 256), Some(8)), ((600, 512), None)] {
            let matrix = stored(dtype, 4, shape, paired);
            let copy = Weight::Tensor(Weight::Stored(matrix.clone()).tensor().unwrap());
            for rows in [1, 2, 3, 4, 5, 9] {
                let x = Tensor::from_vec(random(5, rows * shape.1), (rows, shape.1), &Device::Cpu).unwrap();
                let by = |weight: &Weight| {
                    let projection = Linear { weight: weight.clone(), bias: None, precision: Precision::F32 };
                    linear_by_row(&x, &projection).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
                };
                let (found, expected) = (by(&Weight::Stored(matrix.clone())), by(&copy));
                assert_eq!(bits(&found), bits(&expected), "{dtype:?}, {shape:?}, {rows} rows");
            }
        }
    }
}
