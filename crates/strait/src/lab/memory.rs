//! The memory that steps need, and what they are given: the plan of a run's memory, made before anything is computed.

use std::num::NonZeroUsize;

use candle_core::Device;
use strait_model::{Precision, Weights, progress::Progress};

/// Bytes of a GiB.
pub(super) const GIB: f64 = (1_u64 << 30) as f64;

/// Bytes of the program itself, its tokenizer and what its allocator does not give back.
const PROGRAM: f64 = 128.0 * (1 << 20) as f64;

/// Threads that one step makes good use of: its products are small.
const THREADS_A_STEP: usize = 4;

/// The part of the memory left on the machine that strait takes unasked.
const UNASKED: f64 = 0.8;

/// The part of the memory that copies of the weights may take.
const COPIES: f64 = 0.25;

/// Bytes for kept rows where nothing was planned and the machine does not say what memory it has left.
const UNKNOWN: f64 = 4.0 * GIB;

/// A time or a memory that is more than the limits of a run, or of the machine, allow.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LimitProblem {
    /// A time that nobody waits.
    #[error("it would take some {years:.0} years on this machine")]
    Time {
        /// Years.
        years: f64,
    },
    /// Memory that is far from there.
    #[error("it would take some {needed:.0} GiB of memory, and this machine has {there:.0}")]
    Memory {
        /// GiB.
        needed: f64,
        /// GiB of this machine.
        there: f64,
    },
    /// A step for which the given memory is too little, even if no rows are kept.
    #[error(
        "step `{step}` needs {needed:.2} GiB of memory, of which the weights take {weights:.2}, and `--memory` gives {given:.2}"
    )]
    Given {
        /// The step.
        step: String,
        /// The least that it needs, in GiB.
        needed: f64,
        /// GiB of the weights.
        weights: f64,
        /// The memory that `--memory` gives, in GiB.
        given: f64,
    },
}

/// A step's need of memory beside the weights, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Need {
    pub step: String,
    /// Of the rows that it keeps, which may be computed anew.
    pub rows: f64,
    /// Of the edits that it holds throughout.
    pub held: f64,
    /// Of what it computes with.
    pub working: f64,
    /// Of what it keeps for its way back through the blocks, which may be computed anew.
    pub activations: f64,
}

/// The limits of a run: steps beside each other, and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Steps beside each other; as many as threads and memory allow where it is none.
    pub jobs: Option<NonZeroUsize>,
    /// Bytes of memory of the whole process; what the machine has left where it is none.
    pub memory: Option<u64>,
}

impl Limits {
    /// The limits of each of so many studies beside each other, which share one program and do one step at a time.
    pub(crate) fn of_each(self, beside: usize) -> Self {
        let program = PROGRAM as u64;
        let share = |all: u64| program.min(all) + all.saturating_sub(program) / beside.max(1) as u64;
        Self { jobs: NonZeroUsize::new(1), memory: self.memory.map(share) }
    }
}

impl Need {
    /// Bytes of all that cannot be computed anew.
    fn least(&self) -> f64 {
        self.held + self.working
    }
}

/// The plan of a run's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Steps beside each other.
    pub jobs: usize,
    /// Bytes for all rows that are kept.
    pub rows: u64,
    /// Bytes that all steps may keep for their way back through the blocks, where not all have room for all.
    pub activations: Option<u64>,
    limits: Limits,
    /// Bytes of the weights and the program.
    fixed: f64,
    needs: Vec<Need>,
}

impl Budget {
    /// The plan for steps with these needs on a model with so many bytes of weights. `left` is the memory that the machine has
    /// left once the weights are loaded, where it says so.
    pub(super) fn plan(
        weights: f64,
        needs: &[Need],
        limits: Limits,
        left: Option<f64>,
    ) -> Result<Self, LimitProblem> {
        let mut budget = Self {
            jobs: 1,
            rows: 0,
            activations: None,
            limits,
            fixed: PROGRAM + weights,
            needs: needs.to_vec(),
        };
        let (least, rows) = (budget.least(), budget.most(|need| need.rows));
        let room = match (limits.memory, left) {
            (Some(given), _) => given as f64 - budget.fixed,
            (None, Some(left)) => UNASKED * left,
            (None, None) => f64::INFINITY,
        };
        if let Some(given) = limits.memory.filter(|_| room < least) {
            let (step, needed) = (budget.largest(), budget.fixed + least);
            let [needed, weights, given] = [needed, weights, given as f64].map(|bytes| bytes / GIB);
            return Err(LimitProblem::Given { step, needed, weights, given });
        }
        let asked = limits.jobs.map(NonZeroUsize::get);
        let fitting = match (asked, limits.memory) {
            (None, _) => room / budget.most(|need| need.rows + need.activations + need.least()),
            // Who asks for steps beside each other gets them also where rows are then computed anew.
            (Some(_), Some(_)) => room / least,
            (Some(_), None) => f64::INFINITY,
        };
        let wanted = asked.unwrap_or(rayon::current_num_threads() / THREADS_A_STEP).min(needs.len());
        budget.jobs = wanted.min(fitting as usize).max(1);
        let free = (room - budget.jobs as f64 * least).max(0.0);
        let wanted = budget.jobs as f64 * budget.most(|need| need.activations);
        let activations = free.min(wanted);
        budget.activations = (activations < wanted).then_some(activations as u64);
        let free = free - activations;
        // Nothing more is kept unasked than the steps at hand need.
        let needed = if limits.memory.is_some() { f64::INFINITY } else { budget.jobs as f64 * rows };
        budget.rows = free.min(needed) as u64;
        Ok(budget)
    }

    /// The plan of steps that do no more than hold so many bytes of weights.
    ///
    /// # Errors
    /// If the memory that is given does not suffice for that.
    pub fn of_weights(weights: u64, limits: Limits) -> Result<Self, LimitProblem> {
        Self::plan(weights as f64, &[], limits, None)
    }

    fn most(&self, of: fn(&Need) -> f64) -> f64 {
        self.needs.iter().map(of).fold(0.0, f64::max)
    }

    /// Bytes that one step needs at least, beside weights and program.
    fn least(&self) -> f64 {
        self.most(Need::least)
    }

    /// The step that needs them.
    fn largest(&self) -> String {
        let largest = self.needs.iter().max_by(|a, b| a.least().total_cmp(&b.least()));
        largest.map_or_else(|| "model".into(), |need| need.step.clone())
    }

    /// The share of the rows that a step keeps for which there is room.
    pub(super) fn share(&self, step: &str) -> f64 {
        let of_it = self.needs.iter().filter(|need| need.step == step);
        let (rows, room) =
            (of_it.map(|need| need.rows).fold(0.0, f64::max), self.rows as f64 / self.jobs as f64);
        if rows <= room { 1.0 } else { room / rows }
    }

    /// The share of what a step keeps for its way back for which there is room.
    pub(super) fn share_of_activations(&self, step: &str) -> f64 {
        let of_it = self.needs.iter().filter(|need| need.step == step);
        let needed = of_it.map(|need| need.activations).fold(0.0, f64::max);
        match self.activations.map(|all| all as f64 / self.jobs as f64) {
            Some(room) if room < needed => room / needed,
            _ => 1.0,
        }
    }

    /// Bytes that all steps keep for their way back at most.
    fn kept_activations(&self) -> f64 {
        let wanted = self.jobs as f64 * self.most(|need| need.activations);
        self.activations.map_or(wanted, |room| room as f64)
    }

    /// Bytes that the run takes at its peak.
    pub(super) fn peak(&self) -> f64 {
        let jobs = self.jobs as f64;
        let rows = (jobs * self.most(|need| need.rows)).min(self.rows as f64);
        self.fixed + jobs * self.least() + rows + self.kept_activations()
    }

    /// Bytes that a trial may take.
    pub fn of_trial(&self) -> f64 {
        if self.limits.memory.is_some() {
            self.least() + self.kept_activations() + self.rows as f64
        } else {
            f64::INFINITY
        }
    }

    /// The rows that are kept and those that are computed anew, in words.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(given) = self.limits.memory {
            let gib = |bytes: f64| format!("{:.2}", bytes / GIB);
            lines.push(format!(
                "memory: of {} GiB weights and program take {}, the largest step (`{}`) {}{}, what is kept for the way back \
                 through the blocks {}, which leaves {} for rows that are kept",
                gib(given as f64),
                gib(self.fixed),
                self.largest(),
                gib(self.least()),
                if self.jobs > 1 { format!(", {} times beside each other", self.jobs) } else { String::new() },
                gib(self.kept_activations()),
                gib(self.rows as f64),
            ));
        }
        let lacking = |need: &Need| 1.0 - self.share_of_activations(&need.step);
        let most = self.needs.iter().map(lacking).fold(0.0, f64::max);
        if most > 0.0 {
            lines.push(format!(
                "memory: up to {:.0} % of a training step's blocks are computed again on the way back, which takes longer",
                100.0 * most
            ));
        }
        if let Some(asked) =
            self.limits.jobs.filter(|asked| asked.get() > self.jobs && self.needs.len() > self.jobs)
        {
            lines.push(format!("memory: steps beside each other: {} instead of {asked}", self.jobs));
        }
        let mut lacking: Vec<String> = Vec::new();
        for need in &self.needs {
            let percent = 100.0 * (1.0 - self.share(&need.step));
            let words = format!("{percent:.0} % of those of `{}`", need.step);
            if percent > 0.0 && lacking.last() != Some(&words) {
                lacking.push(words);
            }
        }
        if !lacking.is_empty() {
            let named = lacking[..lacking.len().min(NAMED)].join(", ");
            let more = match lacking.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(", and some of {more} more steps"),
            };
            lines.push(format!(
                "memory: rows without room are computed anew when they are read: {named}{more}"
            ));
        }
        lines
    }
}

/// Leaves the weights in their file where copies would take more than a quarter of the memory that is given, or
/// of what the machine has left, and says so. The results are the same.
pub(crate) fn place(
    weights: Weights,
    device: &Device,
    precision: Precision,
    limits: Limits,
    progress: &dyn Progress,
) -> Weights {
    let tensors = weights.config().tensors();
    let copies = tensors.iter().map(|(_, shape)| precision.bytes(shape) as f64).sum::<f64>();
    let room = limits.memory.map(|given| given as f64).or_else(left).unwrap_or(f64::INFINITY);
    if !device.is_cpu() || copies <= COPIES * room {
        return weights;
    }
    progress.note(&format!(
        "memory: the weights stay in their file, since copies in {} would take {:.2} of {:.2} GiB; the results are the same, but \
         take longer",
        precision.name(),
        copies / GIB,
        room / GIB,
    ));
    weights.in_place()
}

/// The most steps that a line names.
const NAMED: usize = 6;

/// Bytes of memory for kept rows, or for keys and values, where nothing was planned: half of what this machine has left.
pub(crate) fn for_rows() -> u64 {
    left().map_or(UNKNOWN, |left| 0.5 * left) as u64
}

/// Bytes of memory that this machine has left, where it says so.
pub(super) fn left() -> Option<f64> {
    said("MemAvailable:")
}

/// Bytes of memory that this machine has in all, where it says so.
pub(super) fn of_the_machine() -> Option<f64> {
    said("MemTotal:")
}

fn said(what: &str) -> Option<f64> {
    let said = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = said.lines().find_map(|line| line.strip_prefix(what))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex};

    use strait_model::{
        Decoder,
        ops::Weight,
        progress::{Silent, Task, Unit},
    };

    use super::*;

    /// The notes so far.
    #[derive(Default)]
    struct Notes(Mutex<String>);

    impl Progress for Notes {
        fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
            Silent.begin(title, total, unit)
        }

        fn note(&self, line: &str) {
            *self.0.lock().unwrap() += line;
        }
    }

    #[test]
    fn copies_take_a_quarter_of_the_memory_at_most() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
        let copies = Weights::open(&path).unwrap().size(Precision::F32).unwrap();
        for (precision, memory, stay) in [
            (Precision::F32, 4 * copies, false),
            (Precision::F32, 4 * copies - 4, true),
            (Precision::Bf16, 4 * copies, false),
            (Precision::Bf16, copies, true),
        ] {
            let notes = Notes::default();
            let limits = Limits { jobs: None, memory: Some(memory) };
            let weights = place(Weights::open(&path).unwrap(), &Device::Cpu, precision, limits, &notes);
            let decoder = Decoder::new(&weights, &Device::Cpu, precision).unwrap();
            let stored = decoder.weights().iter().any(|(_, weight)| matches!(weight, Weight::Stored(_)));
            let is_known = stay || precision == Precision::Bf16;
            assert_eq!(stored, is_known, "{precision:?} in {memory} bytes");
            let bytes: usize = decoder.weights().iter().map(|(_, weight)| weight.bytes()).sum();
            assert_eq!(bytes as u64, weights.size(precision).unwrap());
            let note = notes.0.into_inner().unwrap();
            assert_eq!(note.contains("stay in their file"), stay, "{note}");
        }
    }

    fn need(step: &str, rows: f64, working: f64) -> Need {
        Need { step: step.into(), rows: rows * GIB, working: working * GIB, ..Need::default() }
    }

    fn plan(needs: &[Need], jobs: usize, memory: Option<f64>) -> Result<Budget, LimitProblem> {
        let memory = memory.map(|gib| (gib * GIB) as u64);
        Budget::plan(GIB, needs, Limits { jobs: NonZeroUsize::new(jobs), memory }, Some(10.0 * GIB))
    }

    #[test]
    fn what_is_given_is_shared_by_weights_steps_and_rows() {
        let needs = [need("train-a", 2.0, 1.0), need("heldout", 0.5, 0.25)];
        let budget = plan(&needs, 1, Some(6.0)).unwrap();
        assert_eq!(budget.rows, ((6.0 - 1.0 - 0.125 - 1.0) * GIB) as u64);
        assert!((budget.peak() / GIB - (1.0 + 0.125 + 1.0 + 2.0)).abs() < 1e-9);
        assert_eq!(budget.lines().len(), 1);

        // Less leaves no room for some of the rows, and says of which steps.
        let budget = plan(&needs, 1, Some(3.5)).unwrap();
        assert!(budget.share("train-a") < 0.7 && budget.share("heldout") == 1.0);
        assert!(budget.peak() <= 3.5 * GIB + 1.0);
        assert!(budget.lines()[1].contains("% of those of `train-a`"), "{:?}", budget.lines());
        assert!(!budget.lines()[1].contains("heldout"));
    }

    #[test]
    fn what_is_kept_for_the_way_back_comes_before_rows_and_may_be_computed_anew() {
        let needs = [Need { activations: 2.0 * GIB, ..need("train-a", 3.0, 1.0) }];
        let shares = |memory| {
            let budget = plan(&needs, 1, Some(memory)).unwrap();
            assert!(budget.peak() <= memory * GIB + 1.0);
            [budget.share_of_activations("train-a"), budget.share("train-a")]
        };
        assert_eq!(shares(8.0), [1.0, 1.0]);
        let [activations, rows] = shares(5.0);
        assert!(activations == 1.0 && (rows - (5.0 - 1.0 - 0.125 - 1.0 - 2.0) / 3.0).abs() < 1e-6);
        let [activations, rows] = shares(3.0);
        assert!((activations - 0.875 / 2.0).abs() < 1e-6 && rows == 0.0);
        let lines = plan(&needs, 1, Some(3.0)).unwrap().lines();
        assert!(lines[1].contains("up to 56 % of a training step's blocks"), "{lines:?}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = plan(&[need("train-a", 2.0, 1.0), need("train-b", 0.0, 1.5)], 1, Some(2.0));
        let words = refused.unwrap_err().to_string();
        assert_eq!(
            words,
            "step `train-b` needs 2.62 GiB of memory, of which the weights take 1.00, and `--memory` gives 2.00"
        );
    }

    #[test]
    fn studies_beside_each_other_share_one_program() {
        let limits = |memory| Limits { jobs: NonZeroUsize::new(4), memory };
        let gib = 1_u64 << 30;
        let one = |memory| limits(memory).of_each(4);
        assert_eq!(one(None), Limits { jobs: NonZeroUsize::new(1), memory: None });
        assert_eq!(one(Some(4 * gib)).memory, Some((1 << 27) + (4 * gib - (1 << 27)) / 4));
        assert_eq!(one(Some(1 << 20)).memory, Some(1 << 20));
    }

    #[test]
    fn steps_beside_each_other_are_as_many_as_have_room() {
        let needs: Vec<Need> = (0..5).map(|i| need(&format!("train-{i}"), 1.0, 1.0)).collect();
        let jobs = |memory| plan(&needs, 4, memory).unwrap().jobs;
        assert_eq!([Some(20.0), Some(4.0), Some(2.5), None].map(jobs), [4, 2, 1, 4]);
        let budget = plan(&needs, 4, Some(4.0)).unwrap();
        assert!(
            budget.lines()[1].ends_with("steps beside each other: 2 instead of 4"),
            "{:?}",
            budget.lines()
        );
        assert!(budget.peak() <= 4.0 * GIB + 1.0);
        // Unasked nothing is kept that no step needs, and no more than the machine has left.
        assert_eq!(plan(&needs, 1, None).unwrap().rows, GIB as u64);
        let large = [need("train-a", 20.0, 1.0)];
        assert_eq!(plan(&large, 1, None).unwrap().rows, 7 << 30);
    }
}
