//! The singular values of what an edit adds to a matrix, and what they come to.

use candle_core::{DType, Device, Tensor};
use gemm::Parallelism;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{
    Adapter, Edit, Leaf, Summary,
    summary::{Spectrum, WholeSpectrum},
};
use crate::{
    Result,
    ops::cpu::{self, View},
};

/// Singular values below this share of the largest are zero but for rounding: they are roots of numbers in f64.
const ZERO: f64 = 1e-7;
/// The most vectors of Lanczos' method, how many come between two looks at its figure, and the change at which it ends.
const VECTORS: usize = 120;
const BETWEEN: usize = 8;
const SETTLED: f64 = 1e-8;
/// What is left of a vector below this share of the largest figure is rounding of f32.
const NOTHING: f64 = 1e-6;
/// Sweeps of Jacobi's method, of which a dozen are enough for any matrix met.
const SWEEPS: usize = 60;

impl Edit {
    /// The summary of the edit, with the spectrum of each matrix that it changes and does not leave as it is.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn summary_with_spectra(&self) -> Result<Summary> {
        let mut summary = self.summary()?;
        match self {
            Self::Composed(_) => {
                for (part, leaf) in summary.parts.iter_mut().zip(self.leaves()) {
                    leaf.add_spectra(part)?;
                }
            }
            _ => self.leaves().try_for_each(|leaf| leaf.add_spectra(&mut summary))?,
        }
        Ok(summary)
    }
}

impl Leaf<'_> {
    fn add_spectra(self, summary: &mut Summary) -> Result<()> {
        let spectra = match self {
            Self::Steering(_) | Self::Ablation(_) => return Ok(()),
            Self::Lora(lora) => {
                let spectra = lora.adapters.par_iter().map(|adapter| of_adapter(adapter, lora.scale()));
                spectra.collect::<Result<Vec<_>>>()?
            }
            Self::Full(full) => {
                let spectra = full.deltas().par_iter().map(|(_, delta)| of_matrix(delta));
                spectra.collect::<Result<Vec<_>>>()?
            }
        };
        for (site, spectrum) in summary.sites.iter_mut().zip(spectra) {
            site.spectrum = spectrum;
        }
        Ok(())
    }
}

/// The spectrum of scale * B A, without that matrix: its singular values squared are the eigenvalues of (A A') (B' B), of shape
/// (r, r).
fn of_adapter(adapter: &Adapter, scale: f64) -> Result<Option<Spectrum>> {
    let (r, input) = adapter.a.dims2()?;
    let output = adapter.b.dim(0)?;
    let wide = |t: &Tensor| {
        let t = t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        t.flatten_all()?.to_vec1::<f64>()
    };
    let (a, b) = (wide(&adapter.a)?, wide(&adapter.b)?);
    let gram_a = product((r, r, input), View::rows(&a, input), View::rows(&a, input).t());
    let gram_b = product((r, r, output), View::rows(&b, r).t(), View::rows(&b, r));
    // With A A' = U D U' and S = U sqrt(D), S' (B' B) S is symmetric and has the same eigenvalues.
    let (values, vectors) = eigen(gram_a, r);
    let mut root = vectors;
    for (column, value) in values.iter().enumerate() {
        (0..r).for_each(|row| root[row * r + column] *= value.max(0.0).sqrt());
    }
    let half = product((r, r, r), View::rows(&gram_b, r), View::rows(&root, r));
    let inner = product((r, r, r), View::rows(&root, r).t(), View::rows(&half, r));
    let (squares, _) = eigen(inner, r);
    let mut singular: Vec<f64> = squares.iter().map(|s| scale.abs() * s.max(0.0).sqrt()).collect();
    singular.sort_by(|a, b| b.total_cmp(a));
    Ok(of_values(singular))
}

/// What singular values, the largest first, come to; none where all are zero.
fn of_values(mut singular: Vec<f64>) -> Option<Spectrum> {
    let largest = singular.first().copied().filter(|&largest| largest > 0.0)?;
    singular.iter_mut().filter(|s| **s < ZERO * largest).for_each(|s| *s = 0.0);
    let sum: f64 = singular.iter().sum();
    let shares = singular.iter().map(|s| s / sum).filter(|&share| share > 0.0);
    let spectrum_entropy: f64 = -shares.map(|share| share * share.ln()).sum::<f64>();
    let count = singular.len() as f64;
    // As shares of the largest, so that no product of many is too small to be told from zero.
    let squares = || singular.iter().map(|s| (s / largest).powi(2));
    let (mean_of_logs, mean) = (squares().map(f64::ln).sum::<f64>() / count, squares().sum::<f64>() / count);
    Some(Spectrum {
        stable_rank: squares().sum(),
        whole: Some(WholeSpectrum {
            effective_rank: spectrum_entropy.exp(),
            // A single value leaves a -0 of rounding.
            spectrum_entropy: spectrum_entropy.max(0.0),
            spectrum_flatness: mean_of_logs.exp() / mean,
            singular_values: singular,
        }),
    })
}

/// The stable rank of a matrix D of any rank; none of what is no matrix or is zero.
fn of_matrix(delta: &Tensor) -> Result<Option<Spectrum>> {
    let Ok((rows, columns)) = delta.dims2() else { return Ok(None) };
    let matrix = delta.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let whole = squares(&matrix)?;
    if whole == 0.0 {
        return Ok(None);
    }
    let largest = largest_square(&matrix, rows.min(columns).min(VECTORS))?;
    Ok((largest > 0.0).then(|| Spectrum { stable_rank: (whole / largest).max(1.0), whole: None }))
}

/// The square of the largest singular value of D by Lanczos' method for D' D with at most so many vectors, each kept at right angles
/// to all before it. Where the largest values lie close together, power iteration would end too early.
fn largest_square(matrix: &Tensor, most: usize) -> Result<f64> {
    // Of the shorter side, of which there are no more vectors at right angles than `most`.
    let wide = matrix.dim(1)? > matrix.dim(0)?;
    let matrix = if wide { matrix.t()?.contiguous()? } else { matrix.clone() };
    let (transposed, columns) = (matrix.t()?, matrix.dim(1)?);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let start: Vec<f32> = (0..columns).map(|_| rng.random_range(-1.0..1.0)).collect();
    let start = Tensor::from_vec(start, (columns, 1), &Device::Cpu)?;
    let mut vectors = (&start / squares(&start)?.sqrt())?;
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let mut largest = 0.0;
    loop {
        let count = diagonal.len() + 1;
        let image = matrix.matmul(&vectors.narrow(1, count - 1, 1)?)?;
        diagonal.push(squares(&image)?);
        let mut next = transposed.matmul(&image)?;
        // Twice, since rounding of the first time leaves something.
        for _ in 0..2 {
            next = (&next - vectors.matmul(&vectors.t()?.matmul(&next)?)?)?;
        }
        let length = squares(&next)?.sqrt();
        let ends = count == most || length <= NOTHING * diagonal.iter().fold(0.0, |a: f64, &b| a.max(b));
        if ends || count % BETWEEN == 0 {
            let found = largest_of_tridiagonal(&diagonal, &beside);
            if ends || (found - largest).abs() <= SETTLED * found {
                return Ok(found);
            }
            largest = found;
        }
        beside.push(length);
        vectors = Tensor::cat(&[&vectors, &(next / length)?], 1)?;
    }
}

/// The largest eigenvalue of a symmetric matrix of a diagonal and what stands beside it.
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> f64 {
    let n = diagonal.len();
    let mut whole = vec![0.0; n * n];
    diagonal.iter().enumerate().for_each(|(i, &value)| whole[i * n + i] = value);
    for (i, &value) in beside.iter().enumerate() {
        (whole[i * n + i + 1], whole[(i + 1) * n + i]) = (value, value);
    }
    eigen(whole, n).0.into_iter().fold(0.0, f64::max)
}

fn squares(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

fn product((m, n, k): (usize, usize, usize), one: View<f64>, two: View<f64>) -> Vec<f64> {
    let mut product = vec![0.0; m * n];
    cpu::matmul((m, n, k), &mut product, n, 0.0, one, two, 1.0, Parallelism::None);
    product
}

/// Eigenvalues of a symmetric matrix of n rows, and its eigenvectors as columns, by Jacobi's method.
fn eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let all: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let beside = |i: usize| (0..n).filter(move |&j| j != i);
        let rest: f64 =
            (0..n).flat_map(|i| beside(i).map(move |j| i * n + j)).map(|at| matrix[at].powi(2)).sum();
        if rest <= f64::EPSILON.powi(2) * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut matrix, &mut vectors, n, (p, q));
            }
        }
    }
    ((0..n).map(|i| matrix[i * n + i]).collect(), vectors)
}

/// Turns rows and columns p and q until the number that both share is zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let shared = matrix[p * n + q];
    if shared == 0.0 {
        return;
    }
    let ratio = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * shared);
    let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turned = |x: f64, y: f64| (cosine * x - sine * y, sine * x + cosine * y);
    for k in 0..n {
        (matrix[k * n + p], matrix[k * n + q]) = turned(matrix[k * n + p], matrix[k * n + q]);
    }
    for k in 0..n {
        (matrix[p * n + k], matrix[q * n + k]) = turned(matrix[p * n + k], matrix[q * n + k]);
        (vectors[k * n + p], vectors[k * n + q]) = turned(vectors[k * n + p], vectors[k * n + q]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng as _;

    use super::*;
    use crate::edit::{Full, Projection, Site};

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "{found} is not {expected}");
    }

    fn tensor(rows: usize, columns: usize, mut number: impl FnMut(usize, usize) -> f64) -> Tensor {
        let numbers =
            (0..rows * columns).map(|i| number(i / columns, i % columns) as f32).collect::<Vec<_>>();
        Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
    }

    fn adapter(a: Tensor, b: Tensor) -> Adapter {
        Adapter { site: Site::Projection { layer: 0, projection: Projection::Down }, a, b }
    }

    fn whole(adapter: &Adapter, scale: f64) -> (f64, WholeSpectrum) {
        let spectrum = of_adapter(adapter, scale).unwrap().unwrap();
        (spectrum.stable_rank, spectrum.whole.unwrap())
    }

    /// numpy: `A = np.cos(np.add.outer(3*np.arange(4), np.arange(9)*1.7)**1.1)`, `B = np.sin(np.add.outer(np.arange(7)*2.3,
    /// np.arange(4))**1.3)`, each as float32, `s = 2.5*np.linalg.svd(B@A, compute_uv=False)[:4]`.
    #[test]
    fn numpy_has_the_same_singular_values() {
        let a = tensor(4, 9, |i, j| (3.0 * i as f64 + 1.7 * j as f64).powf(1.1).cos());
        let b = tensor(7, 4, |i, j| (2.3 * i as f64 + j as f64).powf(1.3).sin());
        let (stable, found) = whole(&adapter(a, b), 2.5);
        let golden = [21.198345843311298, 15.575923691104217, 2.3902828676482937, 0.17642418810543736];
        for (found, expected) in found.singular_values.iter().zip(golden) {
            near(*found, expected, 1e-6);
        }
        let [entropy, effective, flatness, stable_rank] =
            [0.8944456079789112, 2.4459793820531717, 0.06764847835481945, 1.552671629833672];
        near(found.spectrum_entropy, entropy, 1e-7);
        near(found.effective_rank, effective, 1e-7);
        near(found.spectrum_flatness, flatness, 1e-7);
        near(stable, stable_rank, 1e-7);
    }

    #[test]
    fn equal_singular_values_are_as_spread_out_as_can_be() {
        let unit = |n| tensor(n, n, |i, j| f64::from(u8::from(i == j)));
        let (stable, found) = whole(&adapter(unit(5), unit(5)), -3.0);
        near(stable, 5.0, 1e-12);
        near(found.effective_rank, 5.0, 1e-12);
        near(found.spectrum_flatness, 1.0, 1e-12);
        assert!(found.singular_values.iter().all(|s| (s - 3.0).abs() < 1e-12));
    }

    #[test]
    fn an_adapter_of_lower_rank_than_its_own_has_zeros() {
        let a = tensor(3, 8, |_, j| j as f64 - 2.0);
        let b = tensor(6, 3, |i, j| (i + j) as f64);
        let (stable, found) = whole(&adapter(a, b), 1.0);
        near(stable, 1.0, 1e-12);
        near(found.effective_rank, 1.0, 1e-9);
        assert_eq!((found.spectrum_flatness, found.spectrum_entropy), (0.0, 0.0));
        assert_eq!(found.singular_values[1..], [0.0, 0.0]);
        let zero = adapter(tensor(3, 8, |_, j| j as f64), tensor(6, 3, |_, _| 0.0));
        assert_eq!(of_adapter(&zero, 1.0).unwrap(), None);
    }

    #[test]
    fn a_full_fine_tune_has_the_stable_rank_of_its_matrices() {
        // Singular values 4, 2 and 1.
        let matrix = tensor(3, 5, |i, j| if i == j { [4.0, 2.0, 1.0][i] } else { 0.0 });
        let deltas =
            vec![("m".to_string(), matrix), ("n".into(), Tensor::ones(4, DType::F32, &Device::Cpu).unwrap())];
        let edit = Edit::Full(Full::new(String::new(), deltas));
        let summary = edit.summary_with_spectra().unwrap();
        let spectrum = summary.sites[0].spectrum.as_ref().unwrap();
        near(spectrum.stable_rank, 21.0 / 16.0, 1e-6);
        assert_eq!((spectrum.whole.as_ref(), summary.sites[1].spectrum.as_ref()), (None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The squared singular values sum to the squared norm, and every figure lies where it can.
        #[test]
        fn figures_lie_in_their_ranges(
            (r, input, output) in (1usize..6, 1usize..12, 1usize..12), seed in 0u64..1000, scale in -4.0f64..4.0,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut random = |rows, columns| tensor(rows, columns, |_, _| rng.random_range(-1.0..1.0));
            let own = adapter(random(r, input), random(output, r));
            let Some(Spectrum { stable_rank, whole: Some(found) }) = of_adapter(&own, scale).unwrap() else {
                return Ok(());
            };
            let product = own.b.to_dtype(DType::F64).unwrap().matmul(&own.a.to_dtype(DType::F64).unwrap()).unwrap();
            let squared = scale * scale * product.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            let summed: f64 = found.singular_values.iter().map(|s| s * s).sum();
            prop_assert!((summed - squared).abs() <= 1e-9 * squared);
            let rank = r.min(input).min(output) as f64 + 1e-9;
            prop_assert!((1.0..=rank).contains(&stable_rank), "{}", stable_rank);
            prop_assert!(found.effective_rank >= stable_rank.min(1.0) - 1e-9 && found.effective_rank <= rank);
            prop_assert!((0.0..=1.0 + 1e-9).contains(&found.spectrum_flatness));
        }
    }
}
