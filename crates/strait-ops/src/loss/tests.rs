//! Each loss by its fused passes beside the same loss by the plain composition in f64.

use super::{
    super::{HeadChange, Memory, test_support::random},
    pass::TILE,
    *,
};
use crate::Precision;

/// The hidden states' width.
const WIDTH: usize = 8;

fn unembedding(vocab: usize, softcap: Option<f64>) -> Unembedding {
    Unembedding {
        weight: random(5, &[vocab, WIDTH]).into(),
        precision: Precision::F32,
        softcap,
        change: None,
    }
}

/// An unembedding with a change on the head, which is as large as the rest.
fn changed(vocab: usize, softcap: Option<f64>) -> Unembedding {
    let change = HeadChange { a: random(6, &[3, WIDTH]), b: random(7, &[vocab, 3]) };
    Unembedding { change: Some(change), ..unembedding(vocab, softcap) }
}

fn wide(tensor: &Tensor) -> Tensor {
    let wide = tensor.detach().to_dtype(DType::F64).unwrap();
    if tensor.is_variable() { Var::from_tensor(&wide).unwrap().into_inner() } else { wide }
}

fn wide_unembedding(u: &Unembedding) -> Unembedding {
    let change = u.change.as_ref().map(|c| HeadChange { a: wide(&c.a), b: wide(&c.b) });
    Unembedding { weight: wide(&u.weight.tensor().unwrap()).into(), change, ..u.clone() }
}

/// Values and gradients with random weights: of the hidden states, and of an unembedding that is a variable.
fn all_of(loss: Loss<'_>, hidden: &Tensor, u: &Unembedding) -> Vec<Vec<f32>> {
    let hidden = Var::from_tensor(hidden).unwrap();
    let weights: Vec<f32> = random(99, &[hidden.dim(0).unwrap()]).to_vec1().unwrap();
    let (values, gradients) = loss.backward(&hidden, u, &weights).unwrap();
    let weight = u.weight.tensor().unwrap();
    let own = [hidden.as_tensor(), &weight].into_iter().filter(|tensor| tensor.is_variable());
    let numbers = |tensor: &Tensor| {
        let gradient = gradients.get(tensor).expect("every variable gets a gradient");
        gradient.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    std::iter::once(values).chain(own.map(numbers)).collect()
}

#[track_caller]
fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 2e-5 * scale, "{f} for {e}");
    }
}

/// Asserts that both roads agree in values and gradients, and in the values alone.
#[track_caller]
fn agree(loss: Loss<'_>, hidden: &Tensor, u: &Unembedding) {
    let (base, unembedding);
    let in_f64 = match loss {
        Loss::CrossEntropy(targets) => Loss::CrossEntropy(targets),
        Loss::Divergence { base: b, unembedding: u } => {
            (base, unembedding) = (wide(b), wide_unembedding(u));
            Loss::Divergence { base: &base, unembedding: &unembedding }
        }
    };
    let (u64, hidden64) = (wide_unembedding(u), wide(hidden));
    let (found, expected) = (all_of(loss, hidden, u), all_of(in_f64, &hidden64, &u64));
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).for_each(|(f, e)| near(f, e));
    near(&loss.values(hidden, u).unwrap(), &in_f64.values(&hidden64, &u64).unwrap());
}

fn targets(tokens: usize, vocab: usize) -> Vec<u32> {
    (0..tokens).map(|i| (i * 37 % vocab) as u32).collect()
}

#[test]
fn cross_entropy_agrees_with_plain_over_several_chunks() {
    let (targets, hidden) = (targets(1100, 53), random(1, &[1100, WIDTH]));
    for softcap in [None, Some(1.3)] {
        for u in [unembedding(53, softcap), changed(53, softcap)] {
            agree(Loss::CrossEntropy(&targets), &hidden, &u);
        }
    }
}

#[test]
fn cross_entropy_agrees_with_plain_over_several_tiles() {
    let (tokens, vocab) = (2 * TILE.0 + 3, 3 * TILE.1 + 5);
    let (targets, hidden) = (targets(tokens, vocab), random(1, &[tokens, WIDTH]));
    for softcap in [None, Some(1.3)] {
        for u in [unembedding(vocab, softcap), changed(vocab, softcap)] {
            agree(Loss::CrossEntropy(&targets), &hidden, &u);
        }
    }
}

#[test]
fn kl_agrees_with_plain_over_several_chunks() {
    let (hidden, base) = (random(1, &[1100, WIDTH]), random(2, &[1100, WIDTH]));
    for softcap in [None, Some(1.3)] {
        for u in [unembedding(53, softcap), changed(53, softcap)] {
            let unchanged = &Unembedding { change: None, ..u.clone() };
            agree(Loss::Divergence { base: &base, unembedding: unchanged }, &hidden, &u);
        }
    }
}

#[test]
fn no_tokens_give_no_gradient() {
    // Memory that was in use before is not empty.
    drop({
        let mut used = Memory::new(53 * WIDTH);
        used.fill(7.0);
        used
    });
    let frozen = unembedding(53, None);
    let weight = Var::from_tensor(&frozen.weight.tensor().unwrap()).unwrap().into_inner();
    let hidden = Tensor::zeros((0, WIDTH), DType::F32, &candle_core::Device::Cpu).unwrap();
    let trained = Unembedding { weight: weight.clone().into(), ..frozen };
    let (values, gradients) = Loss::CrossEntropy(&[]).backward(&hidden, &trained, &[]).unwrap();
    assert!(values.is_empty());
    let gradient = gradients.get(&weight).expect("every variable gets a gradient");
    let gradient: Vec<f32> = gradient.flatten_all().unwrap().to_vec1().unwrap();
    assert!(gradient.iter().all(|d| *d == 0.0));
}

#[test]
fn an_unembedding_that_is_a_variable_gets_a_gradient() {
    let (targets, hidden, base) = (targets(1100, 53), random(1, &[1100, WIDTH]), random(2, &[1100, WIDTH]));
    for softcap in [None, Some(1.3)] {
        let frozen = &unembedding(53, softcap);
        let weight =
            Var::from_tensor(&(&frozen.weight.tensor().unwrap() + random(8, &[53, WIDTH])).unwrap()).unwrap();
        let u = Unembedding { weight: weight.into_inner().into(), ..frozen.clone() };
        agree(Loss::CrossEntropy(&targets), &hidden, &u);
        agree(Loss::Divergence { base: &base, unembedding: frozen }, &hidden, &u);
    }
}

#[test]
fn a_tied_unembedding_gets_both_its_gradients() {
    let table = Var::from_tensor(&random(5, &[53, WIDTH])).unwrap();
    let u = Unembedding {
        weight: table.as_tensor().clone().into(),
        precision: Precision::F32,
        softcap: None,
        change: None,
    };
    let ids = Tensor::new(&[3u32, 7, 3], table.device()).unwrap();
    let gradient = |hidden: &Tensor| {
        let (_, gradients) = Loss::CrossEntropy(&[1, 2, 3]).backward(hidden, &u, &[1.0; 3]).unwrap();
        gradients.get(&table).unwrap().clone()
    };
    let looked_up = table.index_select(&ids, 0).unwrap();
    let as_input = (gradient(&looked_up) - gradient(&looked_up.detach())).unwrap();
    let of_rows = as_input.abs().unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
    let moved: Vec<usize> = (0..53).filter(|&row| of_rows[row] > 1e-4).collect();
    assert_eq!(moved, [3, 7]);
}

#[test]
fn kl_of_a_distribution_to_itself_is_zero() {
    let (x, u) = (random(1, &[3, WIDTH]), unembedding(53, None));
    let kl = |base: &Unembedding, u: &Unembedding| {
        Loss::Divergence { base: &x, unembedding: base }.values(&x, u).unwrap()
    };
    assert!(kl(&u, &u).iter().all(|k| k.abs() < 1e-6));
    // Where the hidden states agree the change alone makes the difference.
    assert!(kl(&u, &changed(53, None)).iter().all(|&k| k > 1e-3));
}

#[test]
fn what_would_get_no_gradient_in_silence_is_refused() {
    let x = random(1, &[2, WIDTH]);
    let error =
        |u: &Unembedding| Loss::CrossEntropy(&[0, 1]).backward(&x, u, &[1.0; 2]).unwrap_err().to_string();
    let mut u = changed(53, None);
    u.change.as_mut().unwrap().a = Var::from_tensor(&random(6, &[3, WIDTH])).unwrap().into_inner();
    assert!(error(&u).contains("LoRA on the head"));
    let weight = Var::from_tensor(&unembedding(53, None).weight.tensor().unwrap()).unwrap();
    u = unembedding(53, None);
    u.weight = (weight.as_tensor() * 2.0).unwrap().into();
    assert!(error(&u).contains("a variable itself"));
    u = Unembedding { weight: weight.into_inner().into(), ..changed(53, None) };
    assert!(error(&u).contains("no low-rank change"));
}

#[test]
fn a_target_outside_the_vocabulary_is_refused() {
    let (x, u) = (random(1, &[1, WIDTH]), unembedding(53, None));
    assert!(Loss::CrossEntropy(&[53]).values(&x, &u).is_err());
    assert!(Loss::CrossEntropy(&[53]).backward(&x, &u, &[1.0]).is_err());
    assert!(Loss::CrossEntropy(&[5]).backward(&x, &u, &[]).is_err());
}
