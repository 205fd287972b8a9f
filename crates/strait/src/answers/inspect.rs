//! Logs of judged answers that Inspect's viewer opens: the JSON of its `EvalLog`, version 2.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Judged;
use crate::{
    data::ScoredAnswer,
    interval::clusters,
    verdict::{Group, Rates},
};

/// Inspect's mark of an answer without a score.
const NO_SCORE: &str = "N";

/// A log, and the name of its file, by which Inspect's viewer finds it: the time, the task, and what tells it from others.
pub struct Log {
    /// The file's name.
    pub name: String,
    /// Its content, JSON.
    pub content: Value,
}

/// The length of a time up to its seconds: 2026-11-29T12:00:00.
const SECONDS: usize = 19;

/// The log of a group of answers. A question is a sample, its answers are epochs; a score has its judge, and where there is none its
/// reason. The group's rates stand beside the mean scores.
pub fn log(judged: &Judged<'_>, group: &Group<'_>) -> Log {
    let rates = Rates::of(group, judged.rules);
    let first = |of: fn(&ScoredAnswer) -> &str| {
        group.answers.iter().map(|answer| of(answer)).find(|text| !text.is_empty())
    };
    let model = first(|answer| &answer.model).unwrap_or(judged.name);
    let (now, id) = (Timestamp::now().to_string(), identifier(group));
    let questions = clusters(group.answers.iter().map(|answer| (&answer.question_id, &answer.question)));
    let mut epochs: Vec<u64> = Vec::new();
    let samples: Vec<Value> = group
        .answers
        .iter()
        .zip(questions)
        .map(|(answer, question)| {
            if question == epochs.len() {
                epochs.push(0);
            }
            epochs[question] += 1;
            // One name may have several wordings, and a sample has one.
            sample(
                judged,
                answer,
                &format!("{} {}", question + 1, answer.question_id),
                epochs[question],
                model,
            )
        })
        .collect();
    let most = epochs.iter().max().copied().unwrap_or(0);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let task: String = group.name.chars().map(plain).collect();
    let name = format!("{}_{task}_{id}.json", now.get(..SECONDS).unwrap_or(&now).replace(':', "-"));
    let content = json!({
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": id,
            "run_id": id,
            "created": now,
            "task": group.name,
            "task_id": id,
            "task_args": { "edit": first(|answer| &answer.edit), "cue": first(|answer| &answer.cue) },
            "dataset": { "name": judged.name, "samples": epochs.len() },
            "model": model,
            "config": { "epochs": most },
            "packages": { "strait": env!("CARGO_PKG_VERSION") },
        },
        "plan": { "name": "plan", "steps": [], "config": {} },
        "results": {
            "total_samples": group.answers.len(),
            "completed_samples": group.answers.len(),
            "scores": results(judged, &rates),
        },
        "stats": { "started_at": now, "completed_at": now, "model_usage": {} },
        "samples": samples,
    });
    Log { name, content }
}

/// A name of 22 letters that follows from the group, as Inspect's own are random ones of 22.
fn identifier(group: &Group<'_>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(&group.name);
    group.answers.iter().for_each(|answer| hash.update(&answer.response));
    strait_model::files::hex(&hash.finalize())[..22].into()
}

fn sample(judged: &Judged<'_>, answer: &ScoredAnswer, id: &str, epoch: u64, model: &str) -> Value {
    let said =
        json!({ "role": "assistant", "content": answer.response, "source": "generate", "model": model });
    let scores = judged.scored.scales.iter().enumerate().map(|(at, scale)| {
        let reason = answer.reasons.get(at).and_then(Option::as_deref);
        let judge = judged.scored.judges.get(at).map(|judges| judges.join(", ")).unwrap_or_default();
        let value = answer.scores[at].map_or_else(|| NO_SCORE.into(), Value::from);
        (scale.clone(), json!({ "value": value, "explanation": reason, "metadata": { "judge": judge } }))
    });
    json!({
        "id": id,
        "epoch": epoch,
        "input": answer.question,
        "target": "",
        "messages": [{ "role": "user", "content": answer.question, "source": "input" }, said],
        "output": { "model": model, "choices": [{ "message": said, "stop_reason": "stop" }] },
        "scores": scores.collect::<Map<String, Value>>(),
        "metadata": {
            "question_id": answer.question_id,
            "edit": answer.edit,
            "cue": answer.cue,
            "scale": answer.factor,
            "sample": answer.sample,
            "verdicts": judged.rules.labels(&judged.scored.scales, answer),
        },
        "store": {},
        "events": [],
    })
}

/// The mean of every scale, and the rates that rest on it.
fn results(judged: &Judged<'_>, rates: &Rates) -> Vec<Value> {
    let metric = |name: &str, value: f64| (name.to_string(), json!({ "name": name, "value": value }));
    let of = |scale: &String| {
        let mean = rates.means.iter().find(|mean| mean.scale == *scale).filter(|mean| mean.scored > 0);
        let mut metrics: Map<String, Value> =
            mean.map(|mean| metric("mean", mean.mean)).into_iter().collect();
        for found in rates.verdicts.iter().filter(|found| found.scale == *scale) {
            let bounds = [("", found.share.rate), (" (low)", found.share.low), (" (high)", found.share.high)];
            metrics.extend(bounds.map(|(end, value)| metric(&format!("{}{end}", found.verdict), value)));
        }
        let scored = mean.map_or(0, |mean| mean.scored);
        json!({
            "name": scale,
            "scorer": scale,
            "scored_samples": scored,
            "unscored_samples": rates.n - scored,
            "params": { "rules": judged.rules.verdicts.iter().map(ToString::to_string).collect::<Vec<_>>() },
            "metrics": metrics,
        })
    };
    judged.scored.scales.iter().map(of).collect()
}
