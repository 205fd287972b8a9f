//! Claims that compare two solutions by paired differences: of single trainings, and of families over seeds.

use super::{
    Difference, FamilyDifference, Shown,
    difference::{OVER_SEEDS, between},
};
use crate::{
    claim::{Bound, Claim, Place, Subject, opposed, sentence, shared_seeds},
    interval::Interval,
    page::numbers::{number, quoted},
};

/// A claim that compares two solutions by a measure.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The measure.
    pub measure: &'static str,
    /// The section of the notes on the paper.
    pub section: &'static str,
    /// The quantity whose differences decide; none for all.
    pub decides: Option<&'static str>,
    /// True if a lower figure is the more of it.
    pub lower: bool,
    /// The word that is claimed.
    pub more: &'static str,
    /// The word for a point.
    pub point: &'static str,
    /// The text behind a point's number.
    pub unit: &'static str,
    /// The words for the figure.
    pub figure: &'static str,
    /// The conclusion from the claim if it holds.
    pub shows: &'static str,
    /// The conclusion that does not follow from it.
    pub shows_not: &'static str,
}

impl Comparison {
    /// The statements of its claims on these solutions.
    pub fn statements(&self, subjects: &[Subject]) -> Vec<(Place, String)> {
        let mut all = Vec::new();
        for (i, [plain, held]) in opposed(subjects).into_iter().enumerate() {
            let single = self.statement([&plain.name, &held.name]);
            all.push((Place::Pair(i, false), sentence(None, &single)));
            if shared_seeds(subjects, [plain, held]) > 1 {
                let over_seeds = self.statement([&plain.variant, &held.variant]) + OVER_SEEDS;
                all.push((Place::Pair(i, true), sentence(None, &over_seeds)));
            }
        }
        all
    }

    /// Its claims on what was measured: `differences` are those of single trainings, none where it was not measured.
    pub fn claims(&self, shown: &Shown<'_>, differences: Option<&[Difference]>) -> Vec<(Place, Claim)> {
        let over_seeds = FamilyDifference::of(shown, self.measure);
        let seeds = over_seeds.iter().map(|row| row.seeds).min();
        let over_seeds: Vec<Difference> =
            over_seeds.into_iter().map(FamilyDifference::into_difference).collect();
        let mut claims = Vec::new();
        for (i, [plain, held]) in shown.opposed().into_iter().enumerate() {
            if let Some(differences) = differences {
                let pair = [plain.name.as_str(), &held.name];
                let how = "by the 95 % intervals of paired differences";
                claims
                    .push((Place::Pair(i, false), self.judged(self.statement(pair), differences, pair, how)));
            }
            if let Some(seeds) = seeds {
                let pair = [plain.variant.as_str(), &held.variant];
                let how = format!("by 95 % intervals over {seeds} seeds");
                let statement = self.statement(pair) + OVER_SEEDS;
                claims.push((Place::Pair(i, true), self.judged(statement, &over_seeds, pair, &how)));
            }
        }
        claims
    }

    fn statement(&self, [plain, held]: [&str; 2]) -> String {
        format!("{} is {} than {}", quoted(plain), self.more, quoted(held))
    }

    /// The claim that the first solution has more of it at every point that is compared.
    fn judged(&self, claim: String, rows: &[Difference], pair: [&str; 2], how: &str) -> Claim {
        let of_pair = |row: &'_ Difference| between([&row.solution, &row.other], pair, row.difference);
        let rows: Vec<_> = rows.iter().filter_map(|row| Some((row, of_pair(row)?))).collect();
        let (deciding, rest): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(row, _)| self.decides.is_none_or(|what| row.what == what));
        let side = if self.lower { Bound::Below(0.0) } else { Bound::Above(0.0) };
        let figures: Vec<Interval> = deciding.iter().map(|(_, figure)| *figure).collect();
        let holds = side.judge_all(&figures);
        let count = |verdict| figures.iter().filter(|&&f| side.judge(f, &[]) == Some(verdict)).count();
        let (more, less, all) = (count(true), count(false), figures.len());
        // The middle point stands for all of them.
        let Some((row, figure)) = deciding.get(all / 2) else {
            let words = format!("the two are edits of different kinds, of which no {} compares", self.point);
            return Claim::new(claim, self.section, None, Interval::NONE, words);
        };
        if figure.value.is_nan() {
            let words =
                "one of the two lowers the training loss by nothing, of which no share can be lost".into();
            return Claim::new(claim, self.section, None, Interval::NONE, words);
        }
        let part = match row.what.as_str() {
            part if self.decides.is_none() && !part.is_empty() => format!(" ({part})"),
            _ => String::new(),
        };
        let at_best = rest.first().map_or(String::new(), |(_, e)| format!(", at their optima {}", e.words()));
        let shows = if holds == Some(true) { "this shows" } else { "if it held, that would show" };
        let words = format!(
            "{more} of {all} points say so and {less} the contrary, {how}; at {} {}{}{part} the difference is \
             {} {}{at_best}; {shows} {}, but not {}",
            self.point,
            number(row.at),
            self.unit,
            figure.words(),
            self.figure,
            self.shows,
            self.shows_not
        );
        Claim::new(claim, self.section, holds, *figure, words)
    }
}
