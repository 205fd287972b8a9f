//! The list of all measures.

use std::{any::Any, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};
use serde_json::Value;
use strait_model::progress::Progress;

use super::{
    Common, Comparison, Difference, Inputs, Measure, Panel, PlainText, QuestionFiles, Reads, Setting, Shown,
    SideBySide, Tables,
};
use crate::{
    Result, Table,
    claim::{Claim, Place, Subject},
    keys::{self, Checked, Key, Keys, LeftOut},
    lab::{Estimate, Lab, Scene, Solved},
};

/// All measures, in the order in which they are made and reported.
pub static ALL: &[Kind] = &[
    Kind::of::<super::preference::Preference>(),
    Kind::of::<super::divergence::Divergence>(),
    Kind::of::<super::heldout::HeldOut>(),
    Kind::of::<super::efficiency::Efficiency>(),
    Kind::of::<super::stability::Stability>(),
    Kind::of::<super::significance::Significance>(),
    Kind::of::<super::drift::Drift>(),
    Kind::of::<super::rates::Rates>(),
    Kind::of::<super::gradient::Gradient>(),
    Kind::of::<super::turn::Turn>(),
    Kind::of::<super::trajectory::Trajectories>(),
    Kind::of::<super::direction::Directions>(),
    Kind::of::<super::sweep::DirectionSweep>(),
    Kind::of::<super::convergence::Convergence>(),
    Kind::of::<super::norm::Norm>(),
    Kind::of::<super::monitor::Monitors>(),
    Kind::of::<super::scalars::LoraScalars>(),
];

/// A measure without its settings.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The names of its tables.
    pub tables: &'static [&'static str],
    /// The claim that compares two solutions by it.
    pub comparison: Option<&'static Comparison>,
    /// Reads a table of its own.
    pub check: fn(&Table) -> Result<()>,
    /// Its parts of a report.
    pub panels: fn() -> Vec<Panel>,
    /// The statements of its claims.
    pub statements: fn(&[Subject]) -> Vec<(Place, String)>,
    /// Its claims.
    pub claims: fn(&Shown<'_>) -> Vec<(Place, Claim)>,
    /// Its outcome in words.
    pub headline: fn(&Shown<'_>) -> String,
    /// Its limits.
    pub limits: fn(&Shown<'_>) -> Vec<String>,
    /// Its differences between solutions.
    pub differences: fn(&[Table]) -> Vec<Difference>,
    /// Its part of a page of several runs.
    pub side_by_side: fn() -> Option<SideBySide>,
    /// Its key in `[measure]`.
    key: fn() -> Option<Key>,
    written: fn(Option<&keys::Table>) -> Checked<Unresolved>,
    read: fn(Value) -> Result<AnyMeasure, serde_json::Error>,
}

impl Kind {
    /// The measure of a type.
    const fn of<M: Measure>() -> Self {
        Self {
            name: M::NAME,
            tables: M::Found::NAMES,
            comparison: M::COMPARISON,
            check: M::Found::check,
            panels: M::panels,
            statements: M::statements,
            claims: M::claims,
            headline: M::headline,
            limits: M::limits,
            differences: M::differences,
            side_by_side: M::side_by_side,
            key: || M::key().map(|setting| setting.declared(M::NAME)),
            written: Unresolved::read::<M>,
            read: |settings| serde_json::from_value::<M>(settings).map(AnyMeasure::new),
        }
    }

    /// The measure of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|kind| kind.name == name)
    }
}

impl<T: 'static> Setting<T> {
    fn declared(self, name: &'static str) -> Key {
        let Self { about, kind, default } = self;
        Key::new(name, &[about], kind.form(), LeftOut::Value(kind.show(&default)))
    }
}

/// Makes a measure with its settings of a study's keys, once paths are known.
type Resolve = dyn Fn(&Common<'_>) -> Checked<Option<AnyMeasure>> + Send + Sync;

/// One measure's keys as a study has them, before paths are known.
#[derive(Clone)]
pub struct Unresolved {
    line: Option<(&'static str, u64)>,
    resolve: Arc<Resolve>,
}

impl Unresolved {
    /// The keys of a measure in a table, or the meaning of leaving them out.
    fn read<M: Measure>(table: Option<&keys::Table>) -> Checked<Self> {
        let setting = M::key();
        let written = match (&setting, table) {
            (Some(setting), Some(table)) => table.get(M::NAME, &setting.kind)?,
            _ => None,
        };
        let line = written.as_ref().map(|written| (M::NAME, written.line));
        let written = written.map(|written| written.value).or(setting.map(|setting| setting.default));
        let resolve = move |common: &Common<'_>| Ok(M::asked(written.clone(), common)?.map(AnyMeasure::new));
        Ok(Self { line, resolve: Arc::new(resolve) })
    }
}

/// The keys of `[measure]` that are the measures' own.
#[derive(Clone)]
pub struct OwnKeys(Vec<Unresolved>);

impl Default for OwnKeys {
    /// Those of a study without `[measure]`.
    fn default() -> Self {
        // Only what is read from a table can be wrong.
        Self(ALL.iter().filter_map(|kind| (kind.written)(None).ok()).collect())
    }
}

impl OwnKeys {
    /// The measures that are asked for.
    ///
    /// # Errors
    /// If what is written of one cannot be.
    pub fn resolve(&self, common: &Common<'_>) -> Checked<Chosen> {
        let mut asked = Vec::new();
        for written in &self.0 {
            let found = (written.resolve)(&Common { earlier: &asked, ..*common })?;
            asked.extend(found);
        }
        Ok(Chosen(asked))
    }
}

impl std::fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().filter_map(|written| written.line)).finish()
    }
}

impl Keys for OwnKeys {
    fn names() -> Vec<&'static str> {
        Self::keys().into_iter().map(|key| key.name).collect()
    }

    fn keys() -> Vec<Key> {
        ALL.iter().filter_map(|kind| (kind.key)()).collect()
    }

    fn read(table: &keys::Table) -> Checked<Self> {
        ALL.iter().map(|kind| (kind.written)(Some(table))).collect::<Checked<_>>().map(Self)
    }

    fn given(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().filter_map(|written| written.line).collect()
    }

    fn or(self, other: &Self) -> Self {
        if self.given().is_empty() { other.clone() } else { self }
    }
}

/// A measure with its settings, whichever it is.
#[derive(Clone)]
pub struct AnyMeasure(Arc<dyn DynMeasure>);

impl AnyMeasure {
    /// A measure with its settings.
    pub fn new(measure: impl Measure) -> Self {
        Self(Arc::new(measure))
    }

    /// The measure itself, where it is of this type.
    pub fn get<M: Measure>(&self) -> Option<&M> {
        self.0.as_any().downcast_ref()
    }
}

impl std::ops::Deref for AnyMeasure {
    type Target = dyn DynMeasure;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// A [`Measure`] with its settings, without its types.
pub trait DynMeasure: Send + Sync {
    /// The measure, whose type is to be found out.
    fn as_any(&self) -> &dyn Any;
    /// Its name.
    fn name(&self) -> &'static str;
    /// The solutions that it reads.
    fn reads(&self) -> Reads;
    /// Its settings.
    fn settings(&self) -> Value;
    /// True if it reads the training rows that `measure.rows` chooses.
    fn reads_measured_rows(&self) -> bool;
    /// See [`Measure::fixed`].
    fn fixed(&self) -> Vec<(&'static str, String)>;
    /// See [`Measure::unsaid`].
    fn unsaid(&self) -> &'static [&'static str];
    /// See [`Measure::after`].
    fn after(&self) -> Option<&'static str>;
    /// The plain text that it reads.
    fn text(&self) -> Option<&PlainText>;
    /// See [`Measure::questions`].
    fn questions(&self) -> Option<[&QuestionFiles; 2]>;
    /// See [`Measure::outlook`].
    fn outlook(&self, scene: &Scene<'_>) -> Vec<String>;
    /// See [`Measure::applies`].
    fn applies(&self, inputs: &Inputs<'_>) -> bool;
    /// See [`Measure::inputs`].
    ///
    /// # Errors
    /// See [`Measure::inputs`].
    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value>;
    /// See [`Measure::ready`].
    ///
    /// # Errors
    /// See [`Measure::ready`].
    fn ready(&self, progress: &dyn Progress) -> Result<()>;
    /// See [`Measure::estimate`].
    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate);
    /// The tables that [`Measure::run`] comes to.
    ///
    /// # Errors
    /// See [`Measure::run`].
    fn tables(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<Table>>;
}

impl<M: Measure> DynMeasure for M {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        M::NAME
    }

    fn reads(&self) -> Reads {
        M::READS
    }

    fn settings(&self) -> Value {
        // Settings are plain numbers, words and lists: they have no value that JSON lacks.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn reads_measured_rows(&self) -> bool {
        M::MEASURED_ROWS
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        Measure::fixed(self)
    }

    fn unsaid(&self) -> &'static [&'static str] {
        Measure::unsaid(self)
    }

    fn after(&self) -> Option<&'static str> {
        Measure::after(self)
    }

    fn text(&self) -> Option<&PlainText> {
        Measure::text(self)
    }

    fn questions(&self) -> Option<[&QuestionFiles; 2]> {
        Measure::questions(self)
    }

    fn outlook(&self, scene: &Scene<'_>) -> Vec<String> {
        Measure::outlook(self, scene)
    }

    fn applies(&self, inputs: &Inputs<'_>) -> bool {
        Measure::applies(self, inputs)
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Measure::inputs(self, inputs)
    }

    fn ready(&self, progress: &dyn Progress) -> Result<()> {
        Measure::ready(self, progress)
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        estimate.begin_measure(M::NAME);
        Measure::estimate(self, scene, estimate);
    }

    fn tables(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<Table>> {
        lab.store.begin_step();
        Ok(self.run(lab, solved)?.tables())
    }
}

/// The measures that a study asks for; in files an object from name to settings.
#[derive(Clone, Default)]
pub struct Chosen(pub Vec<AnyMeasure>);

impl Chosen {
    /// The measure of a name, where it is asked for.
    pub fn get(&self, name: &str) -> Option<&AnyMeasure> {
        self.0.iter().find(|asked| asked.name() == name)
    }
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        let values = |asks: &Self| asks.0.iter().map(|a| (a.name(), a.settings())).collect::<Vec<_>>();
        values(self) == values(other)
    }
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|asked| (asked.name(), asked.settings()))).finish()
    }
}

impl Serialize for Chosen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for asked in &self.0 {
            map.serialize_entry(asked.name(), &asked.settings())?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Chosen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut map = serde_json::Map::deserialize(from)?;
        // What an older strait wrote beside its measures is no measure.
        let known = ALL.iter().filter_map(|kind| Some((kind, map.remove(kind.name)?)));
        let asked = known.map(|(kind, settings)| (kind.read)(settings).map_err(D::Error::custom));
        asked.collect::<Result<_, _>>().map(Self)
    }
}
