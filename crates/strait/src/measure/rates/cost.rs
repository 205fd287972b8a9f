//! The memory and time of local judges, before any of them is loaded.

use std::path::Path;

use strait_model::{Message, Precision, Role};

use super::judges::{Judging, ModelJudge};
use crate::{
    Result,
    data::{JudgePrompt, Prompt},
    judge::LocalModel,
    lab::{self, Estimate, Lab, Work},
    world::locate,
};

/// The local models that judge.
fn local(judges: &[Judging]) -> impl Iterator<Item = &ModelJudge> {
    judges.iter().filter_map(Judging::model).filter(|judge| judge.is_local())
}

/// The sizes of a judge's model that is another one than the study's; none where it is the same.
fn other(judge: &ModelJudge, lab: &Lab<'_>) -> Result<Option<Work>> {
    let located = locate(&judge.model.path().to_string_lossy(), lab.progress)?;
    if located.path == lab.model.provenance.located.path {
        return Ok(None);
    }
    lab::unloaded(&located, lab.model.decoder.device(), Precision::default()).map(Some)
}

/// Adds the local judges' memory and time to an estimate: of answers with at most so many tokens, of which each question has so many
/// together, once for every entry of `together`, and all of it so many times.
pub(super) fn add(
    judges: &[Judging],
    lab: &Lab<'_>,
    (together, times): (&[usize], usize),
    tokens: usize,
    estimate: &mut Estimate,
) {
    let (answers, batches) = together.iter().fold((0, 0), |(answers, batches), some| {
        (answers + some, batches + some.div_ceil(LocalModel::AT_A_TIME))
    });
    // The judge's own tokenizer may cut otherwise, by little.
    let length = |text: String| {
        let prompt = vec![Message::new(Role::User, text)].into();
        lab.model.tokenizer.encode_prompt(&prompt).map_or(0, |ids| ids.len())
    };
    let mut held: Vec<&Path> = Vec::new();
    for judge in local(judges) {
        let Ok(other) = other(judge, lab) else { continue };
        if let Some(other) = &other
            && !held.contains(&judge.model.path())
        {
            held.push(judge.model.path());
            estimate.holding_model(other);
        }
        let prompt = judge.prompt();
        let before = prompt.text.split(JudgePrompt::ANSWER).next().unwrap_or_default();
        let before = JudgePrompt { text: before.into(), ..prompt.clone() };
        let read = |question: &Prompt| {
            let question = question.question();
            let (shared, whole) = (length(before.about(&question, "")), length(prompt.about(&question, "")));
            batches * shared + answers * (whole.saturating_sub(shared) + tokens)
        };
        let questions = || lab.questions.iter().flatten();
        let asked = (questions().count() * answers) as f64;
        let read: f64 = questions().map(|question| read(question) as f64).sum();
        let times = times as f64;
        estimate.judging(other.as_ref(), times * read, times * LocalModel::REPLIED * asked);
    }
}

/// Lines on local judges that an estimate does not count.
pub(super) fn not_counted(judges: &[Judging], lab: &Lab<'_>) -> Vec<String> {
    let line = |judge: &ModelJudge| {
        let error = other(judge, lab).err()?;
        Some(format!(
            "rates: the estimate does not count the judge `{}`, which cannot be had: {error}",
            judge.scale
        ))
    };
    local(judges).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, slice::from_ref};

    use strait_model::progress::Silent;

    use super::*;
    use crate::{
        data::{Notices, RowSource, Variants, read_prompts},
        keys::Place,
        lab::Speed,
        measure::rates::judges::JudgeTerms,
    };

    fn judge(model: &str, endpoint: Option<&str>) -> Judging {
        let prompt = "Rate the long-winded reply {answer} to {question}, please, from 0 to 100.";
        let terms = JudgeTerms { key_env: None, concurrency: 1, timeout: 1, budget: None, price: None };
        Judging::Model(Box::new(ModelJudge {
            scale: "kind".into(),
            prompt: prompt.into(),
            model: Place::new(PathBuf::from(model), model),
            endpoint: endpoint.map(Into::into),
            printed: false,
            mass: 0.0,
            terms: endpoint.map(|_| terms),
        }))
    }

    #[test]
    fn local_judges_cost_time() {
        let tiny =
            |name: &str| format!("{}/../strait-model/tests/fixtures/tiny/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut lab = Lab::open(&tiny("llama"), &Silent).unwrap();
        let source = RowSource::Lines { name: "q.txt".into(), text: "Why?\nHow so?\n".into() };
        lab.questions[0] = read_prompts(&source, Variants::Kept, &mut Notices::default()).unwrap();
        let seconds = |judges: &[Judging], together: &[usize]| {
            let mut estimate = Estimate::new(&lab.model, Speed::UNKNOWN, None);
            estimate.begin_measure("rates");
            add(judges, &lab, (together, 1), 8, &mut estimate);
            estimate.seconds()
        };
        let own = judge(&tiny("llama"), None);
        assert_eq!(seconds(&[Judging::Named("style".into()), judge("m", Some("http://h/v1"))], &[4]), 0.0);
        let [one, sixteen] = [1, 16].map(|answers| seconds(from_ref(&own), &[answers]));
        // The beginning of the prompt is read once for sixteen answers, and again for more.
        assert!(one > 0.0 && sixteen > 2.0 * one && sixteen < 16.0 * one, "{one} {sixteen}");
        assert_eq!(seconds(from_ref(&own), &[16, 1]), one + sixteen);
        assert_eq!(seconds(from_ref(&own), &[17]), one + sixteen);
        let other = judge(&tiny("gemma3"), None);
        assert!(seconds(from_ref(&other), &[1]) != one);
        let gone = judge(&tiny("gone"), None);
        assert_eq!(seconds(from_ref(&gone), &[1]), 0.0);
        let lines = not_counted(&[own, other, gone], &lab);
        assert!(lines.len() == 1 && lines[0].contains("does not count the judge `kind`"), "{lines:?}");
    }
}
