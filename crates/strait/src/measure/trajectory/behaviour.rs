//! The preference shift of every checkpoint, as it is and scaled up.

use strait_model::{
    Decoder, Edit,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

use super::{BehaviourRow, Trajectories, paths::Path};
use crate::{
    Result,
    interval::Interval,
    lab::{PairReading, PairRows, advance},
};

impl Trajectories {
    /// The shifts of all checkpoints at all scales, of pairs of which nothing is kept yet.
    pub(super) fn behaviour(
        &self,
        decoder: &Decoder,
        paths: &[Path],
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<BehaviourRow>> {
        let mut pairs = self.few(pairs);
        if pairs.iter().all(PairRows::is_empty) {
            return Ok(Vec::new());
        }
        let layers = decoder.config().layers;
        let edits = || paths.iter().flat_map(|path| &path.points).map(|(_, edit)| edit);
        let point = edits().map(|edit| first_changed_point(edit, layers)).min().unwrap_or(layers);
        pairs.iter_mut().try_for_each(|pairs| pairs.keep(decoder, point, progress))?;

        let rows = pairs.iter().map(|pairs| 2 * pairs.len()).sum::<usize>();
        let passes = 1 + edits().count() * self.scales.len();
        let task = progress.begin("behaviour along training", Some((rows * passes) as u64), Unit::Count);
        let seen = |n| advance(progress, &*task, n);
        let read = |edit: Option<&Edit>| -> Result<[Vec<PairReading>; 2]> {
            let [inside, outside] = &pairs;
            Ok([inside.readings(decoder, edit, &seen)?, outside.readings(decoder, edit, &seen)?])
        };
        let base = read(None)?;
        let mut found = Vec::new();
        for path in paths {
            for (step, edit) in &path.points {
                for &scale in &self.scales {
                    let readings = read(Some(&edit.scaled(scale)?))?;
                    let shift = |group: usize| {
                        let of_both = readings[group].iter().zip(&base[group]);
                        let shifts: Vec<f64> = of_both.map(|(x, y)| x.preference - y.preference).collect();
                        Interval::of_clusters(&shifts, &vec![1.0; shifts.len()], &pairs[group].questions)
                    };
                    let rise = |group: usize| {
                        let rises = readings[group].iter().zip(&base[group]).map(|(x, y)| x.loss - y.loss);
                        rises.sum::<f64>() / base[group].len().max(1) as f64
                    };
                    let loss_rise = rise(0).max(rise(1));
                    found.push(BehaviourRow {
                        solution: path.solution.clone(),
                        step: *step,
                        scale,
                        narrow_shift: shift(0),
                        general_shift: shift(1),
                        loss_rise,
                        coherent: loss_rise <= self.coherence,
                        narrow_pairs: pairs[0].len(),
                        general_pairs: pairs[1].len(),
                        seed,
                    });
                }
            }
        }
        Ok(found)
    }
}
