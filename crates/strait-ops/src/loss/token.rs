//! One token's loss from its logits.

use super::super::cpu;

/// Turns logits l into their soft-capped values and returns the largest, and the sum of their powers relative to its.
#[inline(always)]
pub fn powers(row: &mut [f32], cap: Option<f32>) -> (f32, f32) {
    if let Some(cap) = cap {
        for l in row.iter_mut() {
            *l = cap * cpu::tanh(*l / cap);
        }
    }
    let largest = cpu::max(row);
    (
        largest,
        cpu::sum(
            [row],
            #[inline(always)]
            |[l]| cpu::exp(l - largest),
        ),
    )
}

/// Soft-caps logits and returns the log of the sum of their powers.
#[inline(always)]
fn log_sum_exp(row: &mut [f32], cap: Option<f32>) -> f32 {
    let (largest, sum) = powers(row, cap);
    largest + sum.ln()
}

/// Slope of the soft cap where its value is `l`; 1 without one.
#[inline(always)]
fn cap_slope(l: f32, cap: Option<f32>) -> f32 {
    match cap {
        None => 1.0,
        Some(cap) => 1.0 - (l / cap) * (l / cap),
    }
}

/// -log p(target); with `gradient` the row is replaced by p - onehot(target).
#[inline(always)]
pub fn cross_entropy(row: &mut [f32], target: usize, cap: Option<f32>, gradient: bool) -> f32 {
    let log_sum = log_sum_exp(row, cap);
    let at_target = row[target];
    if gradient {
        for l in row.iter_mut() {
            *l = cpu::exp(*l - log_sum) * cap_slope(*l, cap);
        }
        row[target] -= cap_slope(at_target, cap);
    }
    log_sum - at_target
}

/// KL(p ‖ q) as the sum of p (e^d - 1 - d) with d = log q - log p; with `gradient` the row is replaced by q - p.
///
/// The terms -1 and e^d add up to nothing, since p and q both sum to 1, but with them no term is negative: small
/// divergences keep their digits instead of being the difference of large sums.
#[inline(always)]
pub fn divergence(
    row: &mut [f32],
    cap: Option<f32>,
    base: &mut [f32],
    base_cap: Option<f32>,
    gradient: bool,
) -> f32 {
    let base_log_sum = log_sum_exp(base, base_cap);
    let log_sum = log_sum_exp(row, cap);
    let sum = cpu::sum(
        [row, base],
        #[inline(always)]
        |[l, of_base]| {
            let (log_p, log_q) = (of_base - base_log_sum, l - log_sum);
            term(cpu::exp(log_p), cpu::exp(log_q), log_q - log_p)
        },
    );
    if gradient {
        for (l, of_base) in row.iter_mut().zip(base.iter()) {
            *l = (cpu::exp(*l - log_sum) - cpu::exp(of_base - base_log_sum)) * cap_slope(*l, cap);
        }
    }
    sum
}

/// p (e^d - 1 - d), where q is p e^d; by its series where the difference would cancel.
#[inline(always)]
fn term(p: f32, q: f32, d: f32) -> f32 {
    let series = p * d * d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0))));
    let direct = q - p - p * d;
    if d.abs() < 0.1 { series } else { direct }
}
