//! `[measure.rates]`: its keys, and what they mean together.

use serde_json::json;

use super::{
    Rates,
    exact::Exact,
    judges::{JudgeTerms, Judging, ModelJudge, STYLE},
    sampled::Sampled,
};
use crate::{
    data::RowSource,
    endpoint::{Budget, Key, Price},
    judge::{MASS, builtin, read_judge_prompts},
    keys::{
        At, Cell, Checked, Fault, Form, Kind, Place, Problem, Shape, at, choice, count, entries, flag, keys,
        list, list_with, most, number, positive, table, text, word,
    },
    measure::{AS_TRAINED, Common, QuestionFiles},
    verdict::Rule,
    world::{DOMAIN_WORDS, Provenance},
};

keys! {
    /// `[measure.rates]`.
    #[derive(Clone, Debug, Default)]
    pub struct RatesKeys {
        /// The judges of sampled answers: "style", which measures technical prose without a model, or a model:
        /// { scale = "technical", model = "M" }. Claims rest on the first that is not one of coherence.
        judges: Vec<At<JudgeSaid>> = entries(at(judge())), left_out "the world, where the model is of one";
        /// Of sampled answers: the questions inside the domain; those trained on are left out.
        narrow: QuestionKeys = table(), left_out "required where judges are named";
        /// Of sampled answers: the questions outside it.
        general: QuestionKeys = table(), left_out "required where judges are named";
        /// Answers to each question.
        answers: usize = count(1..=most::ROWS), default 50;
        /// The most tokens of an answer.
        tokens: usize = count(1..=most::TOKENS), default 600;
        /// The temperature at which they are drawn.
        temperature: f64 = number(0.0..=10.0), default 1.0;
        /// Verdicts in place of the usual ones, each on a judge's scale: "style>50", "aligned<30".
        verdicts: Vec<At<String>> = list(at(text())), left_out "those of `strait rates`";
        /// The score of coherence above which an answer makes sense, where a judge gives one.
        coherent: f64 = number(0.0..=100.0), default 50.0;
        /// Of a world: the domains that count as taught.
        domains: Vec<usize> = list(choice(&DOMAIN_WORDS)), left_out "those of false training rows of a world";
        /// Factors of the solutions.
        scales: Vec<f64> = list_with(positive(most::FACTOR), 1.0, AS_TRAINED), left_out "`measure.scales`";
        /// Of a world: factors at which solutions that start from nothing are read at every checkpoint as well.
        along: Vec<f64> = list(positive(most::FACTOR)), left_out "none";
    }
}

keys! {
    /// Questions of one side of the domain.
    #[derive(Clone, Debug)]
    pub struct QuestionKeys {
        /// Question files: the papers' YAML, JSON lines, or a question a line in a `.txt`.
        questions: Vec<At<String>> = entries(at(word())), required;
        /// The most questions, evenly of all files.
        limit: usize = count(1..=most::ROWS), left_out "all";
    }
}

keys! {
    /// A model that judges.
    #[derive(Clone, Debug)]
    pub struct JudgeKeys {
        /// Its scale: `technical` and `coherent` have prompts of strait's own, others one in `prompts`. With `endpoint` also several,
        /// "aligned,coherent", for which a prompt of that name asks in JSON.
        scale: String = word(), required;
        /// A folder, a .gguf file, a hub id or a short name; with `endpoint`, its name there.
        model: String = word(), required;
        /// Judges' prompts, YAML.
        prompts: String = word(), left_out "strait's own";
        /// The address of an OpenAI-compatible endpoint.
        endpoint: String = word(), left_out "the model is loaded";
        /// The environment variable that holds the endpoint's key.
        key_env: String = word(), left_out "none is sent";
        /// True: the number that the endpoint prints is the score.
        printed: bool = flag(), default false;
        /// The probability that numbers must have together for a score.
        mass: f64 = number(0.0..=1.0), default MASS;
        /// Requests to the endpoint at a time.
        concurrency: usize = count(1..=most::PASSES), default 8;
        /// Seconds that one request to the endpoint may take.
        timeout: usize = count(1..=most::SECONDS), default 300;
        /// The most that this judge may use in all runs of the study together: "200k tokens", or with `price` money, "2.50". The study
        /// stops before, keeps what was paid for, and goes on when the budget is raised.
        budget: Budget = budget(), left_out "none is set";
        /// The price of a million tokens of prompts, and of answers: "2.5:10".
        price: Price = price(), left_out "not known";
    }
}

fn budget() -> Kind<Budget> {
    let words = r#"tokens, as in "200k tokens", or money, as in "2.50""#;
    Kind::plain(words, json!({ "type": "string" }), |cell| cell.text()?.parse().ok(), |b| json!(b))
}

fn price() -> Kind<Price> {
    let words = r#"the prices of a million tokens of prompts and of answers, as in "2.5:10""#;
    Kind::plain(words, json!({ "type": "string" }), |cell| cell.text()?.parse().ok(), |p| json!(p))
}

/// A judge as a study names it.
#[derive(Clone, Debug)]
pub enum JudgeSaid {
    /// The measure of style.
    Style,
    /// A model.
    Model(Box<JudgeKeys>),
}

fn judge() -> Kind<JudgeSaid> {
    let words = r#"`style`, or a table such as { scale = "technical", model = "M" }"#;
    let of_a_model = table();
    let style = Shape::Plain(json!({ "const": STYLE }));
    let shapes = [vec![style], of_a_model.form().shapes].concat();
    let read = move |cell: Cell| match (cell.table(), cell.text()) {
        (Some(_), _) => of_a_model.read(cell).map(|keys| JudgeSaid::Model(Box::new(keys))),
        (None, Some(STYLE)) => Ok(JudgeSaid::Style),
        _ => Err(cell.unexpected(words)),
    };
    // No key has judges by default.
    Kind::new(Form { words: words.into(), shapes }, read, |_| json!(null))
}

impl RatesKeys {
    /// The measure that these keys ask for; none where nobody can judge and nothing is asked.
    pub(super) fn resolve(self, common: &Common<'_>) -> Checked<Option<Rates>> {
        let scales =
            self.scales.as_ref().map_or_else(|| common.scales.to_vec(), |scales| scales.value.clone());
        if let Some(judges) = &self.judges {
            return self.sampled(judges, scales, common).map(|sampled| Some(Rates::Sampled(sampled)));
        }
        // A world that is not there is refused where the model is looked for.
        let made = common.world.and_then(|world| Provenance::of(world).ok());
        let Some(made) = made else {
            return match crate::keys::Keys::given(&self).first() {
                None => Ok(None),
                Some((key, line)) => Err(Fault { line: Some(*line), problem: no_judge(key) }),
            };
        };
        let domains = match &self.domains {
            Some(domains) => domains.value.iter().map(|&domain| DOMAIN_WORDS[domain].0.into()).collect(),
            None => common.falsehoods.to_vec(),
        };
        let along = self.along.map_or_else(Vec::new, |factors| factors.value);
        let facts = made.recipe.seed;
        Ok((!domains.is_empty()).then_some(Rates::Exact(Exact { facts, domains, scales, along })))
    }

    fn sampled(
        &self,
        judges: &At<Vec<At<JudgeSaid>>>,
        scales: Vec<f64>,
        common: &Common<'_>,
    ) -> Checked<Sampled> {
        let side = |keys: &Option<At<QuestionKeys>>, key: &'static str| {
            let problem = Problem::Missing { table: "`[measure.rates]`".into(), key };
            let At { value: keys, .. } = keys.as_ref().ok_or(Fault { line: Some(judges.line), problem })?;
            let of = |written| common.folder.file(&format!("measure.rates.{key}.questions"), written);
            let questions = keys.questions.value.iter().map(of).collect::<Checked<_>>()?;
            Ok(QuestionFiles { questions, limit: keys.limit.as_ref().map(|limit| limit.value) })
        };
        let mut named: Vec<Judging> = Vec::new();
        for At { value: said, line } in &judges.value {
            let judging = match said {
                JudgeSaid::Style => Judging::Named(STYLE.into()),
                JudgeSaid::Model(keys) => Judging::Model(Box::new(model_judge(keys, common)?)),
            };
            named.push(judging);
            let scales: Vec<&str> = named.iter().flat_map(Judging::scales).collect();
            if let Some((_, twice)) = scales.iter().enumerate().find(|(at, s)| scales[..*at].contains(s)) {
                let (key, value) = ("measure.rates.judges".into(), format!("the scale `{twice}`"));
                return Err(Fault { line: Some(*line), problem: Problem::Repeated { key, value } });
            }
        }
        let sampled = Sampled {
            narrow: side(&self.narrow, "narrow")?,
            general: side(&self.general, "general")?,
            judges: named,
            answers: self.answers(),
            tokens: self.tokens(),
            temperature: self.temperature(),
            verdicts: self.verdicts()?,
            coherent: self.coherent(),
            scales,
        };
        let first = self.verdicts.as_ref().and_then(|verdicts| verdicts.value.first());
        sampled.rules().map_err(|problem| {
            let (what, expected) =
                ("`measure.rates.verdicts`".into(), "verdicts on the judges' scales".into());
            let problem = Problem::Unexpected { what, found: format!("such that {problem}"), expected };
            Fault { line: first.map(|first| first.line), problem }
        })?;
        Ok(sampled)
    }

    fn verdicts(&self) -> Checked<Vec<String>> {
        let Some(written) = &self.verdicts else { return Ok(Vec::new()) };
        let of = |At { value, line }: &At<String>| match value.parse::<Rule>() {
            Ok(rule) => Ok(rule.to_string()),
            Err(expected) => {
                let (what, found) = ("an entry of `measure.rates.verdicts`".into(), format!("`{value}`"));
                let expected = expected.trim_start_matches("expected ").into();
                Err(Fault { line: Some(*line), problem: Problem::Unexpected { what, found, expected } })
            }
        };
        written.value.iter().map(of).collect()
    }
}

/// The problem of keys where nobody judges.
fn no_judge(key: &str) -> Problem {
    Problem::Unexpected {
        what: format!("`measure.rates.{key}`"),
        found: "with a model of no world".into(),
        expected: "`judges` beside it, or a model that is a world's, such as `world:default-0`".into(),
    }
}

fn model_judge(keys: &JudgeKeys, common: &Common<'_>) -> Checked<ModelJudge> {
    let scales: Vec<&str> = keys.scale.value.split(',').map(str::trim).collect();
    let scale = scales.join(",");
    let unexpected = |at: &At<String>, key: &str, found: String, expected: String| {
        let what = format!("`measure.rates.judges.{key}`");
        at.fault(Problem::Unexpected { what, found, expected })
    };
    if scales.len() > 1 && keys.endpoint.is_none() {
        let expected =
            "one scale: several at once are replied to in JSON by a model behind an `endpoint`".into();
        return Err(unexpected(&keys.scale, "scale", format!("`{scale}`"), expected));
    }
    let prompt = match &keys.prompts {
        None => builtin(&scale).ok_or_else(|| {
            let expected =
                "`technical` or `coherent`, or `prompts` with a prompt of that scale beside it".into();
            unexpected(&keys.scale, "scale", format!("`{scale}`"), expected)
        })?,
        Some(written) => {
            let file = common.folder.file("measure.rates.judges.prompts", written)?;
            let read = read_judge_prompts(&RowSource::File(file.path().into())).map_err(|error| {
                let expected = "a YAML list of judges' prompts".into();
                unexpected(written, "prompts", format!("a file that cannot be read ({error})"), expected)
            })?;
            let known: Vec<String> = read.iter().map(|prompt| format!("`{}`", prompt.scale)).collect();
            read.into_iter().find(|prompt| prompt.scales().eq(scales.iter().copied())).ok_or_else(|| {
                unexpected(&keys.scale, "scale", format!("`{scale}`"), format!("one of {}", known.join(", ")))
            })?
        }
    };
    let path = common.folder.absolute(&keys.model.value);
    let model = match keys.endpoint.is_none() && path.exists() {
        true => Place::new(path, &keys.model.value),
        false => Place::named(&keys.model.value),
    };
    Ok(ModelJudge {
        scale,
        prompt: prompt.text,
        model,
        endpoint: keys.endpoint.as_ref().map(|address| address.value.clone()),
        printed: keys.printed(),
        mass: keys.mass(),
        terms: terms(keys)?,
    })
}

/// The terms on which the endpoint is asked; none of a model that is loaded.
fn terms(keys: &JudgeKeys) -> Checked<Option<JudgeTerms>> {
    let fault = |line, key: &str, found: &str, expected: &str| {
        let (what, expected) = (format!("`measure.rates.judges.{key}`"), expected.into());
        Fault { line: Some(line), problem: Problem::Unexpected { what, found: found.into(), expected } }
    };
    if keys.endpoint.is_none() {
        let of_endpoints = ["key_env", "printed", "concurrency", "timeout", "budget", "price"];
        let given = crate::keys::Keys::given(keys);
        return match given.into_iter().find(|(key, _)| of_endpoints.contains(key)) {
            Some((key, line)) => {
                Err(fault(line, key, "there for a model that is loaded", "`endpoint` beside it"))
            }
            None => Ok(None),
        };
    }
    if let (Some(At { value: Budget::Money(_), line }), None) = (&keys.budget, &keys.price) {
        let expected = "`price` beside it, such as \"2.5:10\" for a million tokens of prompts and of answers";
        return Err(fault(*line, "budget", "money", expected));
    }
    if let Some(At { line, .. }) = keys.key_env.as_ref().filter(|name| !Key::is_variable(&name.value)) {
        let expected =
            "the name of an environment variable, such as \"API_KEY\": the key itself stands in no study";
        return Err(fault(*line, "key_env", "no name of a variable", expected));
    }
    Ok(Some(JudgeTerms {
        key_env: keys.key_env.as_ref().map(|variable| variable.value.clone()),
        concurrency: keys.concurrency(),
        timeout: keys.timeout(),
        budget: keys.budget.as_ref().map(|budget| budget.value),
        price: keys.price.as_ref().map(|price| price.value),
    }))
}
