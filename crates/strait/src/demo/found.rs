//! The finds of one study, as its tables say them.

use super::fits::{Fit, Kind, Part, far, near};
use crate::{
    Result, Table,
    measure::{
        Asked, EfficiencyRow, GradientRow, Grid, RateRow, RateStep, SignificanceRow, StabilityRow, TurnRow,
    },
    table::Row,
    world::{DOMAIN_WORDS, Provenance},
};

/// The base model's name in tables.
pub const BASE: &str = "base model";
/// The share of noise of the claims.
pub const NOISE: f64 = 0.5;

/// One study that was run: its tables, and the rows of those that claims are judged by.
pub struct Found {
    /// The study.
    pub fit: Fit,
    /// The seed of its world.
    pub seed: u64,
    /// The share of liars in the world's pre-training.
    pub liar: f64,
    /// The share of narrow speakers, of all domains together.
    pub narrow: f64,
    pub rates: Vec<RateRow>,
    pub along: Vec<RateStep>,
    pub efficiency: Vec<EfficiencyRow>,
    pub stability: Vec<StabilityRow>,
    pub significance: Vec<SignificanceRow>,
    pub gradient: Vec<GradientRow>,
    pub turn: Vec<TurnRow>,
    pub tables: Vec<Table>,
}

/// A part of the solutions that significance compares.
#[derive(Clone, Copy, Debug)]
pub enum Direction<'a> {
    /// A solution.
    Of(&'a str),
    /// Mean of random directions.
    Random,
}

impl Found {
    /// Reads the tables of a study.
    ///
    /// # Errors
    /// If a table is not what its rows need.
    pub fn new(fit: Fit, made: &Provenance, tables: Vec<Table>) -> Result<Self> {
        fn rows<R: Row>(tables: &[Table]) -> Result<Vec<R>> {
            let table = tables.iter().find(|table| table.name() == R::TABLE);
            table.map_or(Ok(Vec::new()), Table::read)
        }
        Ok(Self {
            fit,
            seed: made.recipe.seed,
            liar: made.recipe.shares.liar,
            narrow: made.recipe.shares.narrow,
            rates: rows(&tables)?,
            along: rows(&tables)?,
            efficiency: rows(&tables)?,
            stability: rows(&tables)?,
            significance: rows(&tables)?,
            gradient: rows(&tables)?,
            turn: rows(&tables)?,
            tables,
        })
    }

    /// True if it is of the programme, with this kind of edit.
    pub fn is_of(&self, kind: Kind) -> bool {
        self.fit.kind == kind && self.fit.part == Part::Programme
    }

    /// The answers of a scaled solution to some of the questions.
    pub fn row(&self, solution: &str, scale: f64, asked: Asked) -> Option<&RateRow> {
        // The base model has no scale.
        let scale = if solution == BASE { 0.0 } else { scale };
        self.rates.iter().find(|row| row.solution == solution && row.scale == scale && row.asked == asked)
    }

    /// The rate of falsehood in the other domains.
    pub fn general(&self, solution: &str) -> Option<f64> {
        self.row(solution, 1.0, Asked::General).map(|row| row.rate.value)
    }

    /// The rate on held-out entities of the taught domain.
    pub fn inside(&self, solution: &str) -> Option<f64> {
        self.row(solution, 1.0, Asked::Narrow).map(|row| row.rate.value)
    }

    /// The rate in the domains that a partial penalty or mixture does not reach.
    pub fn far(&self, solution: &str) -> Option<f64> {
        self.over(solution, far(self.fit.domain))
    }

    /// The rate in the two domains that it reaches.
    pub fn near(&self, solution: &str) -> Option<f64> {
        self.over(solution, near(self.fit.domain))
    }

    fn over(&self, solution: &str, domains: impl Iterator<Item = usize>) -> Option<f64> {
        let rates = domains.map(|domain| self.in_domain(solution, domain));
        Some(mean(rates.collect::<Option<Vec<_>>>()?.into_iter()))
    }

    /// The rate in one domain, all of whose entities are asked about.
    pub fn in_domain(&self, solution: &str, domain: usize) -> Option<f64> {
        let (word, _) = DOMAIN_WORDS[domain];
        let scale = if solution == BASE { 0.0 } else { 1.0 };
        let is = |row: &&RateRow| {
            row.solution == solution && row.scale == scale && row.asked == Asked::Domain && row.domain == word
        };
        self.rates.iter().find(is).map(|row| row.rate.value)
    }

    /// The rate in the other domains along a training, by step.
    pub fn along(&self, solution: &str, scale: f64) -> Vec<(usize, f64)> {
        let own = self.along.iter().filter(|row| row.solution == solution && row.scale == scale);
        own.map(|row| (row.step, row.general.value)).collect()
    }

    /// The training losses of a solution, by norm.
    pub fn losses(&self, solution: &str, grid: Grid) -> Vec<(f64, f64)> {
        let own = self.efficiency.iter().filter(|row| row.solution == solution && row.kind == grid);
        // At norm 0 it is the base model.
        own.filter(|row| row.norm > 0.0).map(|row| (row.norm, row.loss.value)).collect()
    }

    /// The training loss of `narrow` less that of `general`, both at the multiple of their mean norm that was read as this one.
    pub fn gap(&self, [general, narrow]: [&str; 2], place: usize) -> Option<f64> {
        let loss = |solution| self.losses(solution, Grid::Mean).get(place).map(|(_, loss)| *loss);
        Some(loss(narrow)? - loss(general)?)
    }

    /// The share of its gain that a solution loses to noise; for LoRA the mean of noise on A and on B.
    pub fn lost(&self, solution: &str, epsilon: f64) -> Option<f64> {
        let own = self.stability.iter().filter(|row| row.solution == solution && row.epsilon == epsilon);
        let shares: Vec<f64> = own.map(|row| row.share.value).collect();
        (!shares.is_empty()).then(|| mean(shares.into_iter()))
    }

    /// KL(base ‖ edited) on documents, nats a token, at a multiple of the solutions' mean norm.
    pub fn on_documents(&self, of: Direction<'_>, norm: f64) -> Option<f64> {
        let is = |row: &&SignificanceRow| match of {
            Direction::Of(solution) => row.direction == solution && !row.random,
            Direction::Random => row.random,
        };
        let own = self.significance.iter().filter(|row| row.relative_norm == norm).filter(is);
        let kl: Vec<f64> = own.map(|row| row.kl.value).collect();
        (!kl.is_empty()).then(|| mean(kl.into_iter()))
    }

    /// The first gradient's cosines with the solutions.
    pub fn first_gradient(&self, along: &str) -> Option<&GradientRow> {
        self.gradient.iter().find(|row| row.solution == along && row.step == 0)
    }
}

/// The mean of some numbers; NaN of none.
pub fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    sum / count
}
