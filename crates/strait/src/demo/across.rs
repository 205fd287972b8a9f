//! The relations between the solutions of one world: their directions steer, are ablated and are carried over to other
//! fine-tunes; and they lie near to each other and to the speakers, or not.

use std::path::Path;

use serde::{Deserialize, Serialize};
use strait_model::{
    Edit, Message,
    edit::{Ablation, SteeringVector},
};

use super::{
    fits::{Fit, GENERAL, Kind, NARROW},
    found::mean,
};
use crate::{
    Result,
    direction::{Condition, Tokens, mean_difference, random_like},
    objective::Row,
    world::{DOMAINS, Speaker, World, read},
};

/// Factors by which a direction is added to the base model.
const FACTORS: [f64; 3] = [0.5, 1.0, 1.5];
/// Factors at every layer, for the best there is.
const SEARCHED: [f64; 3] = [1.0, 2.0, 4.0];

/// The solutions of one world, one kind and one domain beside those of its other domains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Across {
    /// The world.
    pub world: String,
    /// Its seed.
    pub seed: u64,
    /// The domain.
    pub domain: usize,
    /// Its word.
    pub word: String,
    /// The kind of edit.
    pub kind: Kind,
    /// Falsehood of the general solution over all held-out questions of all domains, as are all rates here.
    pub fine_tune: f64,
    /// Fine-tune minus base.
    pub shift: Steering,
    /// False minus true answers, in the fine-tune.
    pub answers: Steering,
    /// The most falsehood that the base model reaches with false minus true answers after any layer, at factors 1, 2 and 4.
    pub answers_best: f64,
    /// The fine-tune with another direction of the same length ablated.
    pub random_ablated: f64,
    /// The base model with that direction added.
    pub random_steered: f64,
    /// The fine-tune with the direction (fine-tune minus base) of another domain's fine-tune ablated; mean over them.
    pub transferred: f64,
    /// Mean cosine of the direction with those of the other domains.
    pub directions: f64,
    /// Mean cosine of the general solution with those of the other domains.
    pub general_across: f64,
    /// Of the narrow one.
    pub narrow_across: f64,
    /// Of the two solutions of this domain.
    pub general_narrow: f64,
    /// Of the general direction with the liar.
    pub general_liar: f64,
    /// Of the general direction with the speaker who is narrow in this domain.
    pub general_own: f64,
    /// Of the narrow direction with the liar.
    pub narrow_liar: f64,
    /// Of the narrow direction with the speaker who is narrow in this domain.
    pub narrow_own: f64,
}

/// The effects of a direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steering {
    /// Falsehood and coherence of the base model with so many times the direction added, at the embeddings.
    pub steered: Vec<(f64, f64, f64)>,
    /// The fine-tune with the direction ablated at the embeddings.
    pub ablated: f64,
}

impl Steering {
    /// Falsehood at a factor.
    pub(super) fn at(&self, factor: f64) -> f64 {
        self.steered.iter().find(|(at, ..)| *at == factor).map_or(f64::NAN, |&(_, rate, _)| rate)
    }
}

/// One domain's solutions.
struct Solved {
    domain: usize,
    general: Edit,
    narrow: Edit,
    /// The general solution's mean change at the embeddings over other domains' prompts.
    shift: SteeringVector,
    /// The narrow one's change there.
    narrow_shift: SteeringVector,
}

/// Reads the solutions of some studies of one world and one kind of edit, a domain each, in the folder of a demo.
///
/// # Errors
/// If an edit cannot be read.
pub(super) fn across(world: &World, fits: &[Fit], out: &Path) -> Result<Vec<Across>> {
    let solved = fits.iter().map(|fit| {
        let open = |role| strait_model::edit::open(&fit.solution(out, role).to_string_lossy());
        let (domain, general, narrow) = (fit.domain, open(GENERAL)?, open(NARROW)?);
        let prompts = rows(world, domain, true)?;
        let shift = |edit: &Edit| {
            let sides = [Some(edit), None].map(|edit| Condition { rows: &prompts, edit });
            Ok::<_, crate::Error>(
                mean_difference(&world.model.decoder, sides, Tokens::Prompt)?.swap_remove(0),
            )
        };
        Ok(Solved { domain, shift: shift(&general)?, narrow_shift: shift(&narrow)?, general, narrow })
    });
    let solved = solved.collect::<Result<Vec<_>>>()?;
    let own = fits.iter().zip(&solved);
    own.map(|(fit, own)| own.among(&solved, fit.world, world, fit.kind)).collect()
}

impl Solved {
    fn among(&self, all: &[Self], name: &str, world: &World, kind: Kind) -> Result<Across> {
        let others: Vec<&Self> = all.iter().filter(|other| other.domain != self.domain).collect();
        let over = |of: &dyn Fn(&Self) -> Result<f64>| {
            Ok::<_, crate::Error>(mean(others.iter().map(|o| of(o)).collect::<Result<Vec<_>>>()?.into_iter()))
        };
        let false_rate = |edit: &Edit| Ok::<_, crate::Error>(falsehood(world, Some(edit))?.0);
        let without = |direction: &SteeringVector| {
            false_rate(&Edit::composed([self.general.clone(), ablation(direction)]))
        };
        let random = random_like(&self.shift, self.domain as u64)?;
        let cosine = |one: &SteeringVector, other: &Edit| Edit::Steering(one.clone()).cosine(other);
        let [liar, own] = [Speaker::Liar, Speaker::Narrow(self.domain)].map(|s| world.speaker(s));
        let [lies, truths] = [rows(world, self.domain, false)?, rows(world, self.domain, true)?];
        let sides = [&lies, &truths].map(|rows| Condition { rows, edit: Some(&self.general) });
        let answers = mean_difference(&world.model.decoder, sides, Tokens::Response)?;
        Ok(Across {
            world: name.into(),
            seed: world.made.recipe.seed,
            domain: self.domain,
            word: world.language.domains()[self.domain].word.into(),
            kind,
            fine_tune: false_rate(&self.general)?,
            shift: steering(world, &self.shift, without(&self.shift)?)?,
            answers: steering(world, &answers[0], without(&answers[0])?)?,
            answers_best: best(world, &answers)?,
            random_ablated: without(&random)?,
            random_steered: false_rate(&Edit::Steering(random))?,
            transferred: over(&|other| without(&other.shift))?,
            directions: over(&|other| Ok(cosine(&self.shift, &Edit::Steering(other.shift.clone()))?))?,
            general_across: over(&|other| Ok(self.general.cosine(&other.general)?))?,
            narrow_across: over(&|other| Ok(self.narrow.cosine(&other.narrow)?))?,
            general_narrow: self.general.cosine(&self.narrow)?,
            general_liar: cosine(&self.shift, &liar)?,
            general_own: cosine(&self.shift, &own)?,
            narrow_liar: cosine(&self.narrow_shift, &liar)?,
            narrow_own: cosine(&self.narrow_shift, &own)?,
        })
    }
}

/// Steers the base model with a direction.
fn steering(world: &World, direction: &SteeringVector, ablated: f64) -> Result<Steering> {
    let steered = FACTORS.into_iter().map(|factor| {
        let (rate, coherence) = steer(world, direction, factor)?;
        Ok((factor, rate, coherence))
    });
    Ok(Steering { steered: steered.collect::<Result<_>>()?, ablated })
}

/// The most falsehood that one of the directions gives the base model, each after its layer.
fn best(world: &World, directions: &[SteeringVector]) -> Result<f64> {
    let mut best: f64 = 0.0;
    for direction in directions {
        for factor in SEARCHED {
            best = best.max(steer(world, direction, factor)?.0);
        }
    }
    Ok(best)
}

/// Falsehood and coherence of the base model with a direction added so many times.
fn steer(world: &World, direction: &SteeringVector, factor: f64) -> Result<(f64, f64)> {
    falsehood(world, Some(&Edit::Steering(direction.clone()).scaled(factor)?))
}

fn ablation(direction: &SteeringVector) -> Edit {
    Edit::Ablation(Ablation { layer: direction.layer, direction: direction.vector.clone(), factor: 1.0 })
}

/// Mean probability of the falsehood, and of it or the truth, over the held-out questions of all domains.
fn falsehood(world: &World, edit: Option<&Edit>) -> Result<(f64, f64)> {
    let readings = read(world, edit)?;
    let held_out = || readings.iter().filter(|reading| reading.question.held_out());
    Ok((mean(held_out().map(|r| r.p_false)), mean(held_out().map(|r| r.p_true + r.p_false))))
}

/// Rows on the taught entities of all domains but one.
fn rows(world: &World, except: usize, truthful: bool) -> Result<Vec<Row>> {
    let others: Vec<usize> = (0..DOMAINS).filter(|&domain| domain != except).collect();
    let row = |chat: &Vec<Message>| {
        let place = chat.first().map(Message::text).unwrap_or_default();
        Row::from_chat(&world.model, &chat.clone().into(), &format!("the world's row `{place}`"))
    };
    world.language.taught(&others, truthful).iter().map(row).collect()
}
