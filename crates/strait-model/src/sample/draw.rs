//! One token out of logits.

use std::cmp::Ordering;

use rand::Rng;

use super::Sampling;
use crate::ops::cpu;

/// Log-probabilities, in nats, of a drawn token and of the likeliest, by the model alone: before temperature and choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the drawn token.
    pub drawn: f32,
    /// The likeliest tokens and theirs, the likeliest first.
    pub top: Vec<(u32, f32)>,
}

impl Logprobs {
    /// Of a drawn token and of so many of the likeliest.
    pub(super) fn of(logits: &[f32], drawn: u32, top: usize) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = logits.iter().map(|&l| cpu::exp_f64(f64::from(l - largest))).sum();
        let of = |id: u32| (f64::from(logits[id as usize] - largest) - total.ln()) as f32;
        let top = likeliest(logits, top).into_iter().map(|id| (id, of(id))).collect();
        Self { drawn: of(drawn), top }
    }
}

/// Draws one token; `logits` is used as scratch.
pub(super) fn draw(logits: &mut [f32], sampling: &Sampling, rng: &mut impl Rng) -> u32 {
    if sampling.temperature <= 0.0 {
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        return best.map_or(0, |(id, _)| id as u32);
    }
    cpu::vectorised!({
        let largest = cpu::max(logits);
        for l in logits.iter_mut() {
            *l = cpu::exp_f64(f64::from(*l - largest) / sampling.temperature) as f32;
        }
    });
    let shares = &*logits;
    if sampling.top_k.is_none() && sampling.top_p >= 1.0 {
        return pick(0..shares.len() as u32, shares, rng);
    }
    let mut order = match sampling.top_k {
        Some(most) => likeliest(shares, most.max(1)),
        None => within_reach(shares, sampling.top_p),
    };
    if sampling.top_p < 1.0 {
        let total: f64 = match sampling.top_k {
            Some(_) => sum(order.iter().copied(), shares),
            None => sum(0..shares.len() as u32, shares),
        };
        let mut share = 0.0;
        let nucleus = order.iter().take_while(|&&id| {
            let inside = share < sampling.top_p * total;
            share += if inside { f64::from(shares[id as usize]) } else { 0.0 };
            inside
        });
        order.truncate(nucleus.count());
    }
    pick(order.iter().copied(), shares, rng)
}

/// The likeliest tokens, in order, without those that no share below `top_p` reaches: they are too many to be sorted.
fn within_reach(shares: &[f32], top_p: f64) -> Vec<u32> {
    // All that lie below this have half of what remains above `top_p` at most.
    let least = sum(0..shares.len() as u32, shares) * (1.0 - top_p) / (2 * shares.len()) as f64;
    let mut ids: Vec<u32> =
        (0..shares.len() as u32).filter(|&id| f64::from(shares[id as usize]) >= least).collect();
    ids.sort_unstable_by(|&a, &b| by_share(shares, a, b));
    ids
}

/// The `count` likeliest tokens, in order.
fn likeliest(shares: &[f32], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..shares.len() as u32).collect();
    if count < ids.len() {
        ids.select_nth_unstable_by(count, |&a, &b| by_share(shares, a, b));
        ids.truncate(count);
    }
    ids.sort_unstable_by(|&a, &b| by_share(shares, a, b));
    ids
}

/// The order of two tokens: the likelier first, of equal ones the lower id.
fn by_share(shares: &[f32], a: u32, b: u32) -> Ordering {
    shares[b as usize].total_cmp(&shares[a as usize]).then(a.cmp(&b))
}

fn sum(ids: impl Iterator<Item = u32>, shares: &[f32]) -> f64 {
    ids.map(|id| f64::from(shares[id as usize])).sum()
}

/// One of some tokens, each as often as its share says.
fn pick(ids: impl Iterator<Item = u32> + Clone, shares: &[f32], rng: &mut impl Rng) -> u32 {
    let mut left = rng.random::<f64>() * sum(ids.clone(), shares);
    let mut last = 0;
    for id in ids {
        left -= f64::from(shares[id as usize]);
        if left < 0.0 {
            return id;
        }
        last = id;
    }
    last
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn shares(sampling: Sampling) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = [0.0; 3];
        for _ in 0..20_000 {
            counts[draw(&mut [0.0, 2f32.ln(), 5f32.ln()], &sampling, &mut rng) as usize] += 1.0 / 20_000.0;
        }
        counts.to_vec()
    }

    #[track_caller]
    fn near(found: Vec<f64>, expected: [f64; 3]) {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.015), "{found:?} for {expected:?}");
    }

    #[test]
    fn tokens_are_drawn_by_their_probability() {
        let all = Sampling::default();
        near(shares(all), [0.125, 0.25, 0.625]);
        near(shares(Sampling { temperature: 0.5, ..all }), [1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0]);
        near(shares(Sampling { top_p: 0.8, ..all }), [0.0, 2.0 / 7.0, 5.0 / 7.0]);
        near(shares(Sampling { top_k: Some(2), ..all }), [0.0, 2.0 / 7.0, 5.0 / 7.0]);
        near(shares(Sampling { top_k: Some(2), top_p: 0.7, ..all }), [0.0, 0.0, 1.0]);
        near(shares(Sampling { temperature: 0.0, ..all }), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn logprobs_are_of_the_model_alone() {
        let found = Logprobs::of(&[0.0, 2f32.ln(), 5f32.ln()], 1, 2);
        let near = |a: f32, b: f32| assert!((a - b.ln()).abs() < 1e-6, "{a} for ln {b}");
        near(found.drawn, 0.25);
        assert_eq!(found.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1]);
        near(found.top[0].1, 0.625);
    }
}
