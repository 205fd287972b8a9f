//! The suite file: a template and the values of its holes.

use std::path::Path;

use super::{
    Problem, Suite,
    claims::{Claims, ClaimsKeys},
    figure::{Values, values},
    template::{combinations, fill, named},
};
use crate::{
    Error, Result,
    keys::{self, At, Fault, Key, Keys, keys, table, text, word},
    page::words::distinct,
    study::{StudyFile, text_of},
};

keys! {
    /// A suite file.
    #[derive(Clone, Debug)]
    pub(crate) struct SuiteFile {
        /// The title of the suite's report.
        title: String = text(), left_out "the name of the file";
        /// The question that the suite asks, in the report's words.
        about: String = text(), default String::new();
        /// The studies.
        suite: SuiteKeys = table(), required;
        + claims: ClaimsKeys;
    }
}

keys! {
    /// `[suite]`.
    #[derive(Clone, Debug)]
    pub(crate) struct SuiteKeys {
        /// The study that all are made of: a study file with holes, `{{name}}`, whose paths start at its own folder.
        template: String = word(), required;
        /// The values of the holes, a list for each name; every combination of them is one study.
        values: Values = values(VALUES), required;
    }
}

const VALUES: &str = "a table of values or lists of values, such as { domain = [\"herb\", \"star\"] }";

/// The most studies of a suite.
const MOST: usize = 1000;

/// True if a text is a suite's and no study's: it has a table `suite`.
fn is_suite(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|file| file.contains_key("suite"))
}

impl Suite {
    /// Every key that a suite file may have.
    pub fn keys() -> Vec<Key> {
        SuiteFile::keys()
    }

    /// Reads a suite file; none where the file is no suite, but a study.
    ///
    /// # Errors
    /// If the file or its template cannot be read, or one of its studies is not what a study should be.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = text_of(path)?;
        if !is_suite(&text) {
            return Ok(None);
        }
        let written: SuiteFile = keys::parse(&text, "the suite").map_err(|fault| refused(fault, path))?;
        let SuiteKeys { template: At { value: template, .. }, values } = &written.suite.value;
        let template = path.parent().unwrap_or(Path::new("")).join(template);
        let lengths = values.value.iter().map(|(_, choices)| choices.len());
        let studies = lengths.fold(1, usize::saturating_mul);
        if studies > MOST {
            return Err(Problem::TooMany { studies, most: MOST }.at(path, Some(values.line)));
        }
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let (title, about) =
            (written.title.clone().map_or(name.clone(), |title| title.value), written.about());
        let text = text_of(&template)?;
        let study = |values: Vec<(String, String)>| {
            let pairs: Vec<(&str, &str)> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let filled = fill(&text, &pairs).map_err(|problem| problem.at(&template, None))?;
            let own = [&name].into_iter().chain(values.iter().map(|(_, value)| value));
            // It lies beside its template, so that its paths are the template's.
            let place = template.with_file_name(format!(
                "{}.toml",
                own.map(|part| named(part)).collect::<Vec<_>>().join("-")
            ));
            Ok((values, StudyFile::parse(&place, filled)?))
        };
        let claims = claims(&written.claims, &values.value, path)?;
        let studies = combinations(&values.value).into_iter().map(study).collect::<Result<_>>()?;
        Ok(Some(Self { name, title, about, studies, claims }))
    }
}

/// The claims of a suite with these values of holes.
fn claims(keys: &ClaimsKeys, holes: &Values, path: &Path) -> Result<Claims> {
    let values = |name: &String| holes.iter().find(|(known, _)| known == name).map(|(_, values)| values);
    for At { value: name, line } in [&keys.each, &keys.agree].into_iter().flatten() {
        if values(name).is_none() {
            return Err(Problem::NoHole { name: name.clone() }.at(path, Some(*line)));
        }
    }
    let each = keys.each.as_ref().and_then(|name| values(&name.value)).into_iter().flatten();
    let each = distinct(each).into_iter().map(|value| (value.clone(), value.clone())).collect();
    Claims::of(keys, each).map_err(|fault| refused(fault, path))
}

fn refused(Fault { line, problem }: Fault, path: &Path) -> Error {
    Problem::Keys(problem).at(path, line)
}
