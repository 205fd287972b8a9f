//! Sweeps of the solutions' directions: added to base at several layers by several factors, and taken out of the solutions
//! (paper §13.2, §13.3).

mod claims;
mod judged;
mod panels;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Model,
    edit::SteeringVector,
    progress::{Progress, Unit},
};

use super::{Common, Inputs, Measure, Panel, Reads, Setting, Shown, direction::extract, rates::Rates};
use crate::{
    Result,
    claim::{Claim, Place, Subject},
    direction::{
        Condition, Tokens, mean_difference,
        sweep::{
            Ablated, AblatedRate, Bench, Mode, Notebook, Of, Removal, Set, Steered, SteeredDomain,
            SteeredRate, Sweep, best, writes_into_stream,
        },
    },
    keys::{Checked, choice, count, flag, keys, list, most, positive, switch},
    lab::{Estimate, Lab, PairRows, Scene, Solution, Solved, advance, point},
    table::Row,
};
use extract::Read;
pub use judged::JudgedSweep;

/// Steering at several layers by several factors, and ablation in several ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionSweep {
    /// The number of layers.
    pub layers: usize,
    /// Factors by which directions are added to the base model.
    pub factors: Vec<f64>,
    /// The most pairs of each group.
    pub pairs: usize,
    /// The ways in which directions are taken out.
    pub modes: Vec<Mode>,
    /// Random directions beside each.
    pub random: usize,
    /// Nats a token that the mean response loss of the pairs may rise by for an effect to count as coherent.
    pub coherence: f64,
    /// The answers that are read too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<JudgedSweep>,
}

keys! {
    /// `measure.sweep`.
    #[derive(Clone, Debug, Default)]
    pub struct SweepKeys {
        /// Layers at which directions are added, evenly apart: the first that every solution changes, and later ones up to the last.
        layers: usize = count(1..=most::PASSES), default 4;
        /// Factors by which a direction is added to the base model.
        factors: Vec<f64> = list(positive(most::FACTOR)), default vec![1.0, 2.0, 4.0];
        /// The most pairs of each group that effects are read on; as many others outside the domain give the directions.
        pairs: usize = count(2..=most::ROWS), default 16;
        /// The ways in which a direction is taken out of a solution: of each layer its own, or that of the layer at which it
        /// steers most, everywhere, after that block alone, or out of the B of adapters that write into the stream.
        modes: Vec<Mode> = list(choice(Mode::NAMES)), default vec![Mode::Own, Mode::Everywhere];
        /// Random directions of the same length beside each direction, each of which takes as long as it.
        random: usize = count(1..=most::PASSES), default 3;
        /// True: rates of judged answers are read too, at every layer by every factor and of every ablation, by the questions and the
        /// judges of `measure.rates`, beside those of base and of the solution as it is.
        rates: bool = flag(), default false;
        /// With `rates`: answers to each question, of base and under every edit.
        answers: usize = count(1..=most::ROWS), left_out "those of `measure.rates`";
        /// With `rates`: random directions beside each direction whose answers are judged too.
        random_rates: usize = count(0..=most::PASSES), default 1;
    }
}

impl Measure for DirectionSweep {
    const NAME: &'static str = "sweep";
    const READS: Reads = Reads::Beside;
    type Found = (Vec<Steered>, Vec<SteeredDomain>, Vec<Ablated>, Vec<SteeredRate>, Vec<AblatedRate>);
    type Said = Option<SweepKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "Directions of the solutions, added to base at several layers by several factors, and taken out of every solution in \
                    several ways, beside random ones.",
            kind: switch("{ layers = 4, factors = [1, 2, 4] }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>> {
        let Some(keys) = said.flatten() else { return Ok(None) };
        Ok(Some(Self {
            layers: keys.layers(),
            factors: keys.factors(),
            pairs: keys.pairs(),
            modes: keys.modes(),
            random: keys.random(),
            coherence: common.coherence,
            judged: JudgedSweep::asked(&keys, common)?,
        }))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("layers", self.layers.to_string()), ("pairs", self.pairs.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        let judged = self.judged.as_ref();
        let judged = judged.map(|judged| JudgedSweep { by: judged.by.without_terms(), ..judged.clone() });
        let mut all = json!({
            "pairs": inputs.pairs,
            "asked": inputs.asked,
            "domain": inputs.domain,
            "settings": Self { judged: judged.clone(), ..self.clone() },
            "intervals": inputs.intervals,
            "seed": inputs.seed,
        });
        if let Some(hashes) = judged.map_or(Ok(None), |judged| judged.by.hashes(inputs))? {
            all["questions"] = hashes;
        }
        Ok(all)
    }

    // The scores and the account of judges are kept by both.
    fn after(&self) -> Option<&'static str> {
        self.judged.as_ref().map(|_| Rates::NAME)
    }

    fn outlook(&self, scene: &Scene<'_>) -> Vec<String> {
        let judged = self.judged.iter();
        judged.map(|judged| judged.outlook(self, scene.lab, scene.beside().count())).collect()
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let depth = scene.lab.model.config().layers;
        let points = scene.beside().map(point);
        let first = points.clone().max().map_or(-1, |point| point as i32 - 1).min(depth as i32 - 1);
        let lowest = points.min().unwrap_or(0);
        let solutions = scene.beside().count();
        let Read { from, on } = Read::of(&scene.lab.pairs, self.pairs);
        estimate.passes(&from.prompts(), 2 * solutions);
        for pairs in on {
            let rows = pairs.kept.rows();
            // Base twice, on its way up and for the ablations, and every solution as it is.
            estimate.losses(rows, 0, 2 + solutions);
            for layer in extract::apart(first, depth, self.layers) {
                estimate.losses(
                    rows,
                    (layer + 1) as usize,
                    solutions * self.factors.len() * (1 + self.random),
                );
            }
            for mode in &self.modes {
                let point = if *mode == Mode::Everywhere { 0 } else { lowest };
                estimate.losses(rows, point, solutions * solutions * (1 + self.random));
            }
        }
        if let Some(judged) = &self.judged {
            judged.estimate(self, scene.lab, solutions, estimate);
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.beside()?;
        let Some(swept) = self.swept(&lab.model, &solutions, &lab.pairs, lab.seed, lab.progress)? else {
            return Ok(Default::default());
        };
        let Swept { sweep, sets, removals, steered, domains, ablated } = swept;
        let (steered_rates, ablated_rates) = match &self.judged {
            None => (Vec::new(), Vec::new()),
            Some(judged) => {
                let taken = taken(&lab.model, &solutions, &removals);
                judged.read(lab, solved, &sweep, &sets, &taken)?
            }
        };
        Ok((steered, domains, ablated, steered_rates, ablated_rates))
    }

    fn panels() -> Vec<Panel> {
        panels::panels()
    }

    fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
        claims::statements(subjects)
    }

    fn unsaid(&self) -> &'static [&'static str] {
        if self.judged.is_some() { &[] } else { claims::BY_ANSWERS }
    }

    fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
        claims::claims(shown)
    }

    fn limits(shown: &Shown<'_>) -> Vec<String> {
        let has = |name| shown.tables.iter().any(|table| table.name() == name && table.rows() > 0);
        let by_pairs = match has(SteeredRate::TABLE) {
            true => "",
            false => "; and pairs were read, not answers that were judged",
        };
        let swept = has(Steered::TABLE).then(|| {
            format!(
                "The layer and factor at which a direction steers most were chosen by the same pairs on which its effect there is given, \
                 so that it is a little too large{by_pairs}."
            )
        });
        swept.into_iter().chain(judged::limit(&shown.rows())).collect()
    }
}

/// A sweep by preferences, with what it was made of.
struct Swept {
    sweep: Sweep,
    sets: Vec<Set>,
    removals: Vec<Removal>,
    steered: Vec<Steered>,
    domains: Vec<SteeredDomain>,
    ablated: Vec<Ablated>,
}

impl DirectionSweep {
    /// The shifts that the solutions' directions give to base at every layer by every factor, and how much of each solution's shift
    /// goes with each of them.
    ///
    /// # Errors
    /// If a reading is no number, a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        model: &Model,
        solutions: &[Solution],
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<(Vec<Steered>, Vec<SteeredDomain>, Vec<Ablated>)> {
        let swept = self.swept(model, solutions, pairs, seed, progress)?;
        Ok(swept.map(|swept| (swept.steered, swept.domains, swept.ablated)).unwrap_or_default())
    }

    /// The same; none where there is no pair to read, or no direction.
    fn swept(
        &self,
        model: &Model,
        solutions: &[Solution],
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Option<Swept>> {
        let Read { from, on } = Read::of(pairs, self.pairs);
        let layers = extract::layers(model.config().layers, solutions, self.layers);
        let sets = match from.is_empty() || layers.is_empty() {
            true => Vec::new(),
            false => sets(model, solutions, &layers, &from, progress)?,
        };
        if sets.is_empty() {
            return Ok(None);
        }
        let sweep = Sweep {
            factors: self.factors.clone(),
            random: self.random,
            coherence: self.coherence,
            layers,
            seed,
        };
        let mut notebook = Notebook::none();
        let mut bench = Bench { pairs: &on, notebook: &mut notebook, progress };
        let (steered, domains, _) = sweep.steer(model, None, &sets, &mut bench)?;
        let removals = sets.iter().flat_map(|set| {
            let layer = best(&steered, &set.name).map_or(sweep.layers[0], |best| best.layer as i32);
            self.modes.iter().map(move |&mode| Removal { sets: vec![set.clone()], mode, layer })
        });
        let removals: Vec<Removal> = removals.collect();
        let mut ablated = Vec::new();
        for out_of_b in [false, true] {
            let removals = removals.iter().filter(|removal| (removal.mode == Mode::Lora) == out_of_b);
            let removals: Vec<Removal> = removals.cloned().collect();
            let of = solutions.iter().filter(|solution| !out_of_b || has_b(model, solution));
            let of: Vec<Of<'_>> = of.map(of_solution).collect();
            if !(removals.is_empty() || of.is_empty()) {
                ablated.extend(sweep.remove(model, &of, &removals, &mut bench)?.0);
            }
        }
        Ok(Some(Swept { sweep, sets, removals, steered, domains, ablated }))
    }
}

fn of_solution(solution: &Solution) -> Of<'_> {
    Of { name: &solution.name, edit: Some(&solution.edit) }
}

/// True if directions can be taken out of a solution's B: it is what some solutions have, and a model may norm what they write.
fn has_b(model: &Model, solution: &Solution) -> bool {
    !model.config().post_norms && writes_into_stream(&solution.edit)
}

/// Every removal with every solution that it can be taken out of, in the order of the table of shifts.
fn taken<'a>(
    model: &Model,
    solutions: &'a [Solution],
    removals: &'a [Removal],
) -> Vec<(Of<'a>, &'a Removal)> {
    let mut all = Vec::new();
    for out_of_b in [false, true] {
        for solution in solutions.iter().filter(|solution| !out_of_b || has_b(model, solution)) {
            let own = removals.iter().filter(|removal| (removal.mode == Mode::Lora) == out_of_b);
            all.extend(own.map(|removal| (of_solution(solution), removal)));
        }
    }
    all
}

/// The directions of solutions: the fine-tune less base, over prompts outside the domain, after every block. A solution that changes
/// nothing has none.
fn sets(
    model: &Model,
    solutions: &[Solution],
    layers: &[i32],
    pairs: &PairRows,
    progress: &dyn Progress,
) -> Result<Vec<Set>> {
    let prompts = pairs.prompts();
    let task = progress.begin("directions", Some(solutions.len() as u64), Unit::Count);
    let mut sets = Vec::new();
    for solution in solutions {
        let sides = [Some(&solution.edit), None].map(|edit| Condition { rows: &prompts, edit });
        let vectors = mean_difference(&model.decoder, sides, Tokens::Prompt)?;
        let lengths = vectors.iter().map(SteeringVector::norm).collect::<strait_model::Result<Vec<_>>>()?;
        if layers.iter().all(|&layer| lengths[(layer + 1) as usize] > 0.0) {
            sets.push(Set::new(&solution.name, vectors)?);
        }
        advance(progress, &*task, 1)?;
    }
    Ok(sets)
}
