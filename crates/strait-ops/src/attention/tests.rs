use candle_core::{Tensor, Var};
use half::bf16;

use super::super::test_support::{agree, agree_within, random};
use super::*;
use crate::product::Kernel;

fn span(queries: Range<usize>, keys: Range<usize>) -> Span {
    Span { queries, beginning: 0..0, keys }
}

fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    let (softcap, window, precision) = (None, None, Precision::F32);
    AttentionShape { heads, kv_heads, head_dim, scale: 0.7, softcap, window, precision }
}

/// Queries, keys and values for these spans.
fn inputs(shape: AttentionShape, spans: &[Span]) -> [Tensor; 3] {
    let (queries, keys) = (spans.last().unwrap().queries.end, spans.last().unwrap().keys.end);
    let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    // Scores of about the same size, whatever the width of a head.
    let size = 2.0 * (4.0 / shape.head_dim as f64).sqrt();
    [(1, queries, width), (2, keys, kv_width), (3, keys, kv_width)]
        .map(|(seed, rows, width)| (random(seed, &[rows, width]) * size).unwrap())
}

fn apply(kernel: Option<Kernel>, t: &[Tensor], shape: AttentionShape, spans: &Spans) -> Result<Tensor> {
    t[0].apply_op3(&t[1], &t[2], Operation::new(Fused::by(kernel, shape, spans)))
}

fn check(shape: AttentionShape, list: &[Span]) {
    let spans = Spans::new(list.iter().cloned());
    let inputs = inputs(shape, list);
    let composed = |t: &[Tensor]| plain(&t[0], &t[1], &t[2], shape, &spans);
    agree(&inputs, |t| attention(&t[0], &t[1], &t[2], shape, &spans), composed);
    let rounded = inputs.each_ref().map(rounded);
    for &kernel in Kernel::available() {
        // The composition rounds neither shares nor their gradients, nor those of the result.
        agree_within(0.01, &rounded, |t| apply(Some(kernel), t, shape, &spans), composed);
        agree_within(0.02, &inputs, |t| apply(Some(kernel), t, shape, &spans), composed);
        alone_and_together(kernel, shape, list, &inputs);
    }
}

fn rounded(numbers: &Tensor) -> Tensor {
    let round = |x: &f32| bf16::from_f32(*x).to_f32();
    let numbers_of = numbers.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    Tensor::from_vec(numbers_of.iter().map(round).collect::<Vec<_>>(), numbers.shape(), numbers.device())
        .unwrap()
}

/// The value, and the gradients of queries, keys and values.
fn run(kernel: Option<Kernel>, inputs: &[Tensor], shape: AttentionShape, spans: &Spans) -> [Vec<f32>; 4] {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = apply(kernel, &tensors, shape, spans).unwrap();
    let direction = y.detach().sin().unwrap();
    let gradients = crate::backward(&(&y * direction).unwrap().sum_all().unwrap()).unwrap();
    let of = |i: usize| gradients.get(&vars[i]).unwrap();
    [y, of(0), of(1), of(2)].map(|t| t.flatten_all().unwrap().to_vec1().unwrap())
}

/// A span has the same bits alone, whatever the number of threads.
fn alone_and_together(kernel: Kernel, shape: AttentionShape, list: &[Span], inputs: &[Tensor]) {
    let run = |threads: usize, inputs: &[Tensor], list: &[Span]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(Some(kernel), inputs, shape, &Spans::new(list.iter().cloned())))
    };
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let together = run(3, inputs, list);
    let by_one = run(1, inputs, list);
    assert!(together.iter().zip(&by_one).all(|(x, y)| bits(x) == bits(y)), "{kernel} and threads");
    for one in list.iter().filter(|one| one.beginning.is_empty()) {
        let (q, k) = (one.queries.clone(), one.keys.clone());
        let shared = list.iter().any(|other| other.beginning.start < k.end && k.start < other.beginning.end);
        let part = |t: &Tensor, rows: &Range<usize>| t.narrow(0, rows.start, rows.len()).unwrap();
        let inputs = [part(&inputs[0], &q), part(&inputs[1], &k), part(&inputs[2], &k)];
        let alone = run(2, &inputs, &[span(0..q.len(), 0..k.len())]);
        let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let parts = [(&q, width), (&q, width), (&k, kv_width), (&k, kv_width)];
        for (i, ((alone, together), (rows, width))) in alone.iter().zip(&together).zip(parts).enumerate() {
            // Keys that others see too get gradients of those.
            let expected = &together[rows.start * width..rows.end * width];
            assert!(i > 1 && shared || bits(alone) == bits(expected), "{kernel}, result {i} of {one:?}");
        }
    }
}

#[test]
fn fused_agrees_with_plain() {
    let packed = [span(0..5, 0..5), span(5..6, 5..6), span(6..150, 6..150)];
    let shape = shape(6, 2, 4);
    check(shape, &packed);
    check(AttentionShape { softcap: Some(1.5), ..shape }, &packed);
    check(AttentionShape { window: Some(3), ..shape }, &packed);
    check(AttentionShape { softcap: Some(2.0), window: Some(70), ..shape }, &packed);
}

#[test]
fn heads_of_any_width_and_number_agree() {
    let packed = [span(0..70, 0..70), span(70..71, 70..71), span(71..104, 71..104)];
    for (heads, kv_heads, head_dim) in [(9, 3, 64), (2, 2, 80), (4, 1, 256), (14, 2, 33), (1, 1, 1)] {
        let shape = shape(heads, kv_heads, head_dim);
        check(shape, &packed);
        check(AttentionShape { softcap: Some(1.5), window: Some(33), ..shape }, &packed);
    }
}

#[test]
fn long_spans_are_put_together_from_blocks() {
    check(shape(3, 1, 8), &[span(0..331, 0..331)]);
    check(AttentionShape { window: Some(100), ..shape(3, 1, 8) }, &[span(0..331, 0..331)]);
}

#[test]
fn cached_keys_are_seen() {
    let packed = [span(0..1, 0..9), span(1..4, 9..15), span(4..54, 15..120)];
    check(shape(6, 2, 4), &packed);
    check(AttentionShape { window: Some(4), ..shape(6, 2, 4) }, &packed);
}

#[test]
fn a_shared_beginning_is_seen_by_all_and_gets_the_gradient_of_all() {
    let sharing = |own: Range<usize>| Span { queries: own.clone(), beginning: 0..7, keys: own };
    let packed = [span(0..7, 0..7), sharing(7..12), sharing(12..90)];
    check(shape(6, 2, 4), &packed);
    check(AttentionShape { softcap: Some(1.5), window: Some(4), ..shape(6, 2, 4) }, &packed);
}

#[test]
fn precision_chooses_the_products() {
    let list = [span(0..40, 0..40)];
    let (shape, spans) = (shape(6, 2, 64), Spans::new(list.iter().cloned()));
    let t = inputs(shape, &list);
    for precision in Precision::ALL {
        let found = attention(&t[0], &t[1], &t[2], AttentionShape { precision, ..shape }, &spans).unwrap();
        let expected = run(precision.kernel(), &t, shape, &spans);
        assert_eq!(found.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected[0]);
    }
    assert_ne!(run(None, &t, shape, &spans)[0], run(Precision::Bf16.kernel(), &t, shape, &spans)[0]);
}

#[test]
fn what_is_not_finite_stays_so() {
    let list = [span(0..40, 0..40)];
    let (shape, spans) = (shape(2, 1, 8), Spans::new(list.iter().cloned()));
    for &kernel in Kernel::available() {
        let [q, k, v] = inputs(shape, &list);
        let one = Tensor::full(f32::NAN, (40, 16), q.device()).unwrap();
        let y = &run(Some(kernel), &[(q + one).unwrap(), k, v], shape, &spans)[0];
        assert!(y.iter().all(|y| y.is_nan()), "{kernel}");
    }
}

#[test]
fn a_span_outside_is_refused() {
    let x = random(1, &[3, 2]);
    let spans = Spans::new([span(0..4, 0..4)]);
    assert!(attention(&x, &x, &x, shape(1, 1, 2), &spans).is_err());
}
