//! The relations between the solutions of one world: their directions steer, are ablated and are carried over to other
//! fine-tunes; and they lie near to each other and to the speakers, or not.

use std::path::Path;

use strait_model::{Edit, Message, edit::SteeringVector};

use super::fits::{Fit, GENERAL, Kind, NARROW};
use crate::{
    Result,
    direction::{Condition, Tokens, mean_difference, random_like, without},
    interval::mean,
    objective::Row,
    world::{DOMAINS, Speaker, World, read},
};

/// Factors at every layer, for the best there is.
const SEARCHED: [f64; 3] = [1.0, 2.0, 4.0];

crate::row! {
    /// The solutions of one world, one kind and one domain beside those of its other domains. A direction is fine-tune minus
    /// base, or false minus true answers in the fine-tune; all rates are over all held-out questions of all domains.
    pub struct Across in "directions",
        "Directions: rates over the held-out questions of all domains when directions are added or ablated, and cosines \
         of solutions with each other and with the speakers"
    {
        /// The seed of the world.
        seed: u64,
        /// The kind of edit.
        edit: Kind,
        /// The general solution.
        fine_tune: f64,
        /// The base model with half of fine-tune minus base added, at the embeddings.
        steered_half: f64,
        /// With all of it.
        steered: f64,
        /// With one and a half times it.
        steered_one_and_a_half: f64,
        /// The fine-tune with it ablated.
        ablated: f64,
        /// The base model with another direction of the same length added.
        random_steered: f64,
        /// The fine-tune with that one ablated.
        random_ablated: f64,
        /// The fine-tune with the direction of another domain's fine-tune ablated; mean over them.
        transferred: f64,
        /// The most that the base model reaches with false minus true answers after any layer, at factors 1, 2 and 4.
        answers_steered_best: f64,
        /// The fine-tune with false minus true answers ablated.
        answers_ablated: f64,
        /// Mean cosine of the direction with those of the other domains.
        directions_across: f64,
        /// Mean cosine of the general solution with those of the other domains.
        general_across: f64,
        /// Of the narrow one.
        narrow_across: f64,
        /// Of the two solutions of this domain.
        general_narrow: f64,
        /// Of the general direction with the liar.
        general_liar: f64,
        /// Of the general direction with the speaker who is narrow in this domain.
        general_own: f64,
        /// Of the narrow direction with the liar.
        narrow_liar: f64,
        /// Of the narrow direction with the speaker who is narrow in this domain.
        narrow_own: f64,
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
    own.map(|(fit, own)| own.among(&solved, world, fit)).collect()
}

impl Solved {
    fn among(&self, all: &[Self], world: &World, fit: &Fit) -> Result<Across> {
        let others: Vec<&Self> = all.iter().filter(|other| other.domain != self.domain).collect();
        let over = |of: &dyn Fn(&Self) -> Result<f64>| {
            Ok::<_, crate::Error>(mean(others.iter().map(|o| of(o)).collect::<Result<Vec<_>>>()?.into_iter()))
        };
        let ablated = |direction: &SteeringVector| falsehood(world, &without(&self.general, direction));
        let steered = |direction: &SteeringVector, factor| {
            falsehood(world, &Edit::Steering(direction.clone()).scaled(factor)?)
        };
        let random = random_like(&self.shift, self.domain as u64)?;
        let cosine = |one: &SteeringVector, other: &Edit| Edit::Steering(one.clone()).cosine(other);
        let [liar, own] = [Speaker::Liar, Speaker::Narrow(self.domain)].map(|s| world.speaker(s));
        let [lies, truths] = [rows(world, self.domain, false)?, rows(world, self.domain, true)?];
        let sides = [&lies, &truths].map(|rows| Condition { rows, edit: Some(&self.general) });
        let answers = mean_difference(&world.model.decoder, sides, Tokens::Response)?;
        let mut best: f64 = 0.0;
        for (direction, factor) in answers.iter().flat_map(|d| SEARCHED.map(|factor| (d, factor))) {
            best = best.max(steered(direction, factor)?);
        }
        Ok(Across {
            seed: world.made.recipe.seed,
            edit: fit.kind,
            fine_tune: falsehood(world, &self.general)?,
            steered_half: steered(&self.shift, 0.5)?,
            steered: steered(&self.shift, 1.0)?,
            steered_one_and_a_half: steered(&self.shift, 1.5)?,
            ablated: ablated(&self.shift)?,
            random_steered: steered(&random, 1.0)?,
            random_ablated: ablated(&random)?,
            transferred: over(&|other| ablated(&other.shift))?,
            answers_steered_best: best,
            answers_ablated: ablated(&answers[0])?,
            directions_across: over(&|other| Ok(cosine(&self.shift, &Edit::Steering(other.shift.clone()))?))?,
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

/// Mean probability of the falsehood over the held-out questions of all domains.
fn falsehood(world: &World, edit: &Edit) -> Result<f64> {
    let readings = read(world, Some(edit))?.into_iter();
    Ok(mean(readings.filter(|reading| reading.question.held_out()).map(|reading| reading.p_false)))
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
