//! The time that is left for the studies of a suite.

use std::path::Path;

use candle_core::Device;
use strait_model::progress::Progress;

use super::{Shares, each};
use crate::{
    Result,
    lab::duration,
    study::{Planned, Solution, State, seconds_left, status_of},
    train::{Seeds, Settings},
};

/// Says how many studies are left and how long they take, by trials of their models. Of studies with the same steps, trained
/// in the same way on models of the same sizes, one is tried for all.
///
/// # Errors
/// If a model cannot be run.
pub(crate) fn say_time(
    studies: &[Planned],
    out: &Path,
    device: &Device,
    shares: Shares,
    progress: &dyn Progress,
) -> Result<()> {
    let mut kinds: Vec<Vec<&Planned>> = Vec::new();
    for planned in studies {
        let steps = status_of(&planned.plan, &out.join(&planned.study.name), &planned.study.name)?;
        if steps.iter().all(|step| step.state == State::Done) {
            continue;
        }
        match kinds.iter_mut().find(|alike| takes_as_long(alike[0], planned)) {
            Some(alike) => alike.push(planned),
            None => kinds.push(vec![planned]),
        }
    }
    let seconds = each(&kinds, (shares.beside, shares.threads), |alike| {
        let one = seconds_left(alike[0], &out.join(&alike[0].study.name), device, shares.limits)?;
        Ok((one, one * alike.len() as f64))
    })?;
    let longest = seconds.iter().map(|(one, _)| *one).fold(0.0, f64::max);
    let all: f64 = seconds.iter().map(|(_, all)| all).sum();
    let time = duration(longest.max(all / shares.beside as f64));
    match kinds.iter().map(Vec::len).sum::<usize>() {
        0 => {}
        1 => progress.note(&format!("one study is left, which takes {time}")),
        n => {
            progress.note(&format!("{n} studies are left, which take {time}; each that is finished is kept"))
        }
    }
    Ok(())
}

/// True if two studies differ in their data and seeds alone.
fn takes_as_long(one: &Planned, other: &Planned) -> bool {
    let steps = |of: &Planned| of.plan.steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
    let settings = |solution: &Solution| Settings { seeds: Seeds::default(), ..solution.train.clone() };
    let trained = |of: &Planned| of.study.solutions.iter().map(settings).collect::<Vec<_>>();
    one.config == other.config && steps(one) == steps(other) && trained(one) == trained(other)
}
