//! The measures' tables as typed rows.
//!
//! A table that is absent, or lacks a column, gives `None`: to the report, that measure was not made.

use crate::{Table, interval::Interval};

/// The value that stands for all domains together.
const ALL: &str = "all";

/// One row of `preference`: how far a solution moved the preference for the taught kind of answer.
pub(super) struct Shift<'a> {
    pub solution: &'a str,
    /// Whether the pairs lie inside the taught domain.
    pub inside: bool,
    /// The domain, or none for all together.
    pub domain: Option<&'a str>,
    pub scale: f64,
    pub pairs: i64,
    /// Nats a token.
    pub shift: Interval,
    /// The same over as many first tokens of both answers; NaN where it was not measured.
    pub equal_shift: Interval,
    /// Mean tokens of the taught and of the other answers; NaN where they were not counted.
    pub tokens: [f64; 2],
    /// Nats a token.
    pub loss_rise: f64,
    pub coherent: bool,
}

/// One row of `certificate`: one solution at one scale.
pub(super) struct Certificate<'a> {
    pub solution: &'a str,
    pub scale: f64,
    pub narrow: Interval,
    pub general: Interval,
    /// Upper bound of the general shift over the narrow shift.
    pub share: f64,
    pub coherent: bool,
    /// Whether the share is within the study's certificate; none where incoherent.
    pub holds: Option<bool>,
}

/// One row of `kl`.
pub(super) struct Divergence<'a> {
    pub solution: &'a str,
    /// Whether the text lies inside the taught domain.
    pub inside: bool,
    pub scale: f64,
    /// Nats a token.
    pub kl: Interval,
}

/// One row of `heldout`.
pub(super) struct HeldOut<'a> {
    pub solution: &'a str,
    /// Loss less that of base, nats a token.
    pub difference: Interval,
}

/// One row of `efficiency`: a solution at one norm.
pub(super) struct Scaled<'a> {
    pub solution: &'a str,
    /// The kind of edit, which decides what norms compare with.
    pub edit: &'a str,
    /// `shared`, `scale` or `optimum`.
    pub kind: &'a str,
    pub factor: f64,
    pub norm: f64,
    /// Nats a response token.
    pub loss: Interval,
    /// Whether an optimum lies on the edge of its grid.
    pub at_edge: bool,
}

/// One row of `stability`: a part of a solution under one share of noise.
pub(super) struct Turned<'a> {
    pub solution: &'a str,
    pub part: &'a str,
    pub epsilon: f64,
    /// Share of the gain lost.
    pub share: Interval,
    /// Its standard deviation over seeds.
    pub deviation: f64,
}

/// One row of `significance`: a direction at one norm.
pub(super) struct Significant<'a> {
    pub direction: &'a str,
    pub random: bool,
    /// The kind of edit, which decides what text it was read on.
    pub edit: &'a str,
    /// As a multiple of the mean norm of the solutions.
    pub relative_norm: f64,
    /// Nats a token.
    pub kl: Interval,
}

/// One row of a table that compares: the figure of one solution less that of another.
pub(super) struct Difference<'a> {
    pub solution: &'a str,
    pub other: &'a str,
    /// What of them is compared, where a table knows several things.
    pub what: Option<&'a str>,
    /// The norm or the share of noise.
    pub at: f64,
    pub difference: Interval,
}

/// One row of `drift`: a solution that started from another one, at one checkpoint.
pub(super) struct Drift<'a> {
    pub solution: &'a str,
    pub from: &'a str,
    /// Whether it was trained without the KL penalty of its start.
    pub freed: bool,
    pub step: i64,
    /// Of the change since the start with the way from narrow to general.
    pub cosine_change: f64,
    /// To the start and to other solutions: the name and the cosine.
    pub cosines: Vec<(&'a str, f64)>,
    /// Nats a token.
    pub narrow: Interval,
    /// Nats a token.
    pub general: Interval,
    /// The general shift less that of the start, nats a token.
    pub rise: Interval,
    pub coherent: bool,
}

/// One row of `frontier`: one KL weight at one scale.
pub(super) struct Weight<'a> {
    pub solution: &'a str,
    pub weight: f64,
    pub scale: f64,
    pub narrow: Interval,
    pub general: Interval,
    /// Upper bound of the general shift over the narrow shift.
    pub share: f64,
    /// The largest share that separates.
    pub bound: f64,
    pub coherent: bool,
    pub keeps: bool,
    pub separates: bool,
    pub chosen: bool,
}

/// One row of `families`: solutions that differ in their seeds alone.
pub(super) struct Family<'a> {
    pub family: &'a str,
    pub inside: bool,
    pub scale: f64,
    pub seeds: i64,
    /// Nats a token, the interval over seeds.
    pub shift: Interval,
    pub coherent: bool,
}

/// One row of `training`.
pub(super) struct Step<'a> {
    pub solution: &'a str,
    pub step: i64,
    pub response_loss: f64,
    pub kl: f64,
    pub norm: f64,
    pub heldout_loss: f64,
}

pub(super) fn shifts(tables: &[Table]) -> Option<Vec<Shift<'_>>> {
    let table = table(tables, "preference")?;
    let (solution, group, domain) = (table.text("solution")?, table.text("group")?, table.text("domain")?);
    let (scale, pairs, loss_rise) = (table.real("scale")?, table.integer("pairs")?, table.real("loss_rise")?);
    let (shift, coherent) = (estimates(table, ["shift", "low", "high"])?, table.truth("coherent")?);
    // Tables of older runs lack these.
    let equal_shift = estimates(table, ["equal_shift", "equal_low", "equal_high"]);
    let tokens = table.real("taught_tokens").zip(table.real("other_tokens"));
    let row = |i: usize| Shift {
        solution: &solution[i],
        inside: group[i] == "narrow",
        domain: (domain[i] != ALL).then_some(domain[i].as_str()),
        scale: scale[i],
        pairs: pairs[i],
        shift: shift[i],
        equal_shift: equal_shift.as_ref().map_or(Interval::NONE, |shifts| shifts[i]),
        tokens: tokens.map_or([f64::NAN; 2], |(taught, other)| [taught[i], other[i]]),
        loss_rise: loss_rise[i],
        coherent: coherent[i] == Some(true),
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn certificates(tables: &[Table]) -> Option<Vec<Certificate<'_>>> {
    let table = table(tables, "certificate")?;
    let (solution, scale, share) = (table.text("solution")?, table.real("scale")?, table.real("share")?);
    let narrow = estimates(table, ["narrow_shift", "narrow_low", "narrow_high"])?;
    let general = estimates(table, ["general_shift", "general_low", "general_high"])?;
    let (coherent, holds) = (table.truth("coherent")?, table.truth("holds")?);
    let row = |i: usize| Certificate {
        solution: &solution[i],
        scale: scale[i],
        narrow: narrow[i],
        general: general[i],
        share: share[i],
        coherent: coherent[i] == Some(true),
        holds: holds[i],
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn divergences(tables: &[Table]) -> Option<Vec<Divergence<'_>>> {
    let table = table(tables, "kl")?;
    let (solution, text, scale) = (table.text("solution")?, table.text("text")?, table.real("scale")?);
    let kl = estimates(table, ["kl", "low", "high"])?;
    let row = |i: usize| Divergence {
        solution: &solution[i],
        inside: text[i] == "in-domain",
        scale: scale[i],
        kl: kl[i],
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn held_out(tables: &[Table]) -> Option<Vec<HeldOut<'_>>> {
    let table = table(tables, "heldout")?;
    let solution = table.text("solution")?;
    let difference = estimates(table, ["difference", "low", "high"])?;
    let row = |i: usize| HeldOut { solution: &solution[i], difference: difference[i] };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn scaled(tables: &[Table]) -> Option<Vec<Scaled<'_>>> {
    let table = table(tables, "efficiency")?;
    let (solution, edit, kind) = (table.text("solution")?, table.text("edit")?, table.text("kind")?);
    let (factor, norm) = (table.real("factor")?, table.real("norm")?);
    let (loss, at_edge) = (estimates(table, ["loss", "low", "high"])?, table.truth("at_edge")?);
    let row = |i: usize| Scaled {
        solution: &solution[i],
        edit: &edit[i],
        kind: &kind[i],
        factor: factor[i],
        norm: norm[i],
        loss: loss[i],
        at_edge: at_edge[i] == Some(true),
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn drifts(tables: &[Table]) -> Option<Vec<Drift<'_>>> {
    const COSINE: &str = "cosine_to_";
    let table = table(tables, "drift")?;
    let (solution, from, freed) = (table.text("solution")?, table.text("from")?, table.truth("freed")?);
    let (step, coherent) = (table.integer("step")?, table.truth("coherent")?);
    let (cosine_start, cosine_change) = (table.real("cosine_start")?, table.real("cosine_change")?);
    let narrow = estimates(table, ["narrow_shift", "narrow_low", "narrow_high"])?;
    let general = estimates(table, ["general_shift", "general_low", "general_high"])?;
    let rise = estimates(table, ["rise", "rise_low", "rise_high"])?;
    let cosines: Vec<_> = table
        .columns()
        .filter_map(|(name, ..)| Some((name.strip_prefix(COSINE)?, table.real(name)?)))
        .collect();
    let row = |i: usize| Drift {
        solution: &solution[i],
        from: &from[i],
        freed: freed[i] == Some(true),
        step: step[i],
        cosine_change: cosine_change[i],
        cosines: std::iter::once(("its start", cosine_start[i]))
            .chain(cosines.iter().map(|(name, values)| (*name, values[i])))
            .collect(),
        narrow: narrow[i],
        general: general[i],
        rise: rise[i],
        coherent: coherent[i] == Some(true),
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn turned(tables: &[Table]) -> Option<Vec<Turned<'_>>> {
    let table = table(tables, "stability")?;
    let (solution, part, epsilon) = (table.text("solution")?, table.text("part")?, table.real("epsilon")?);
    let (share, deviation) = (estimates(table, ["share", "low", "high"])?, table.real("deviation")?);
    let row = |i: usize| Turned {
        solution: &solution[i],
        part: &part[i],
        epsilon: epsilon[i],
        share: share[i],
        deviation: deviation[i],
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn weights(tables: &[Table]) -> Option<Vec<Weight<'_>>> {
    let table = table(tables, "frontier")?;
    let (solution, weight, scale) = (table.text("solution")?, table.real("weight")?, table.real("scale")?);
    let narrow = estimates(table, ["narrow_shift", "narrow_low", "narrow_high"])?;
    let general = estimates(table, ["general_shift", "general_low", "general_high"])?;
    let (share, bound) = (table.real("share")?, table.real("bound")?);
    let (coherent, keeps) = (table.truth("coherent")?, table.truth("keeps")?);
    let (separates, chosen) = (table.truth("separates")?, table.truth("chosen")?);
    let row = |i: usize| Weight {
        solution: &solution[i],
        weight: weight[i],
        scale: scale[i],
        narrow: narrow[i],
        general: general[i],
        share: share[i],
        bound: bound[i],
        coherent: coherent[i] == Some(true),
        keeps: keeps[i] == Some(true),
        separates: separates[i] == Some(true),
        chosen: chosen[i] == Some(true),
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn significant(tables: &[Table]) -> Option<Vec<Significant<'_>>> {
    let table = table(tables, "significance")?;
    let (direction, random) = (table.text("direction")?, table.truth("random")?);
    let (edit, relative_norm) = (table.text("edit")?, table.real("relative_norm")?);
    let kl = estimates(table, ["kl", "low", "high"])?;
    let row = |i: usize| Significant {
        direction: &direction[i],
        random: random[i] == Some(true),
        edit: &edit[i],
        relative_norm: relative_norm[i],
        kl: kl[i],
    };
    Some((0..table.rows()).map(row).collect())
}

pub(super) fn families(tables: &[Table]) -> Option<Vec<Family<'_>>> {
    let table = table(tables, "families")?;
    let (family, group, scale) = (table.text("family")?, table.text("group")?, table.real("scale")?);
    let (seeds, coherent) = (table.integer("seeds")?, table.truth("coherent")?);
    let shift = estimates(table, ["shift", "low", "high"])?;
    let row = |i: usize| Family {
        family: &family[i],
        inside: group[i] == "narrow",
        scale: scale[i],
        seeds: seeds[i],
        shift: shift[i],
        coherent: coherent[i] == Some(true),
    };
    Some((0..table.rows()).map(row).collect())
}

/// The rows of the table that compares what a measure's own table holds; `at` is the column of its points, `what` that of
/// the things compared.
pub(super) fn differences<'a>(
    tables: &'a [Table],
    measure: &str,
    at: &str,
    what: Option<&str>,
) -> Option<Vec<Difference<'a>>> {
    let table = table(tables, &format!("{measure}{DIFFERENCE}"))?;
    let (solution, other, at) = (table.text("solution")?, table.text("other")?, table.real(at)?);
    let difference = estimates(table, ["difference", "low", "high"])?;
    let what = match what {
        Some(column) => Some(table.text(column)?),
        None => None,
    };
    let row = |i: usize| Difference {
        solution: &solution[i],
        other: &other[i],
        what: what.map(|what| what[i].as_str()),
        at: at[i],
        difference: difference[i],
    };
    Some((0..table.rows()).map(row).collect())
}

/// The differences of a measure between families of solutions, with the fewest seeds that one rests on.
pub(super) fn families_difference<'a>(
    tables: &'a [Table],
    measure: &str,
) -> Option<(i64, Vec<Difference<'a>>)> {
    let table = table(tables, "families_difference")?;
    let (of, family, other) = (table.text("measure")?, table.text("family")?, table.text("other")?);
    let (what, at, seeds) = (table.text("what")?, table.real("at")?, table.integer("seeds")?);
    let difference = estimates(table, ["difference", "low", "high"])?;
    let row = |i: usize| Difference {
        solution: &family[i],
        other: &other[i],
        what: (!what[i].is_empty()).then_some(what[i].as_str()),
        at: at[i],
        difference: difference[i],
    };
    let own = || (0..table.rows()).filter(|&i| of[i] == measure);
    Some((own().map(|i| seeds[i]).min()?, own().map(row).collect()))
}

/// What a solution and those that differ from it in their seeds alone are called together.
pub(super) fn variant_of<'a>(tables: &'a [Table], solution: &str) -> Option<&'a str> {
    let table = table(tables, "solutions")?;
    let names = table.text("solution")?;
    let place = names.iter().position(|name| name == solution)?;
    table.text("variant")?.get(place).map(String::as_str)
}

/// What the name of a table that compares ends with, after the name of the measure's own table.
pub(super) const DIFFERENCE: &str = "_difference";

pub(super) fn steps(tables: &[Table]) -> Option<Vec<Step<'_>>> {
    let table = table(tables, "training")?;
    let (solution, step) = (table.text("solution")?, table.integer("step")?);
    let (response_loss, kl) = (table.real("response_loss")?, table.real("kl")?);
    let (norm, heldout_loss) = (table.real("norm")?, table.real("heldout_loss")?);
    let row = |i: usize| Step {
        solution: &solution[i],
        step: step[i],
        response_loss: response_loss[i],
        kl: kl[i],
        norm: norm[i],
        heldout_loss: heldout_loss[i],
    };
    Some((0..table.rows()).map(row).collect())
}

/// The names of all solutions in the order in which the tables first name them; `solutions` is asked first, so that a
/// solution keeps its place and its colour whatever was measured.
pub(super) fn solutions(tables: &[Table]) -> Vec<&str> {
    let first = tables.iter().filter(|t| t.name() == "solutions");
    let others = tables.iter().filter(|t| t.name() != "solutions");
    let mut names = Vec::new();
    for name in first.chain(others).filter_map(|t| t.text("solution")).flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// What decides which solutions claims compare.
pub(super) struct Side<'a> {
    pub solution: &'a str,
    /// The kind of its edit, one word.
    pub kind: &'a str,
    /// Whether it is held to base by a KL penalty.
    pub penalised: bool,
}

/// The pairs of solutions that claims compare: of every kind of edit the first without a KL penalty and the first with one;
/// where no kind has two such, the first two of all. Controls are compared with nothing.
pub(super) fn opposed(tables: &[Table]) -> Vec<[&str; 2]> {
    let known = table(tables, "solutions");
    let side = |solution| {
        let names = known.and_then(|known| known.text("solution"));
        let row = names.and_then(|names| names.iter().position(|name| name == solution));
        let Some((known, row)) = known.zip(row) else {
            return Some(Side { solution, kind: "", penalised: false });
        };
        let control = known.truth("control").is_some_and(|control| control[row] == Some(true));
        let kind = known.text("kind").map_or("", |kind| kind[row].as_str());
        let penalised = known.real("kl_weight").is_some_and(|weight| weight[row] > 0.0);
        (!control).then_some(Side { solution, kind, penalised })
    };
    opposed_of(&solutions(tables).into_iter().filter_map(side).collect::<Vec<_>>())
}

/// As [`opposed`].
pub(super) fn opposed_of<'a>(sides: &[Side<'a>]) -> Vec<[&'a str; 2]> {
    let mut kinds: Vec<&str> = sides.iter().map(|side| side.kind).collect();
    kinds.sort_by_key(|kind| sides.iter().position(|side| side.kind == *kind));
    kinds.dedup();
    let pair = |kind: &str| {
        let first = |penalised| sides.iter().find(|s| s.kind == kind && s.penalised == penalised);
        Some([first(false)?.solution, first(true)?.solution])
    };
    let pairs: Vec<_> = kinds.into_iter().filter_map(pair).collect();
    match sides {
        [one, other, ..] if pairs.is_empty() => vec![[one.solution, other.solution]],
        _ => pairs,
    }
}

fn table<'a>(tables: &'a [Table], name: &str) -> Option<&'a Table> {
    tables.iter().find(|t| t.name() == name)
}

/// The columns of a value and of the two ends of its interval.
fn estimates(table: &Table, columns: [&str; 3]) -> Option<Vec<Interval>> {
    table.interval(columns)
}
