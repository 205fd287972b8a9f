//! The marks by which a turn, or a row, is trained on or not.
//!
//! Trainers name it in many ways. All of the usual names are honoured; what says more than yes or no is refused, as is a name
//! that may mean either.

use serde_json::{Map, Value};

use super::problem::{Problem, kind};

/// Keys that say yes by `true` or 1: of OpenAI, Mistral and Together (`weight`), axolotl (`train`, `training`), tinker
/// (`trainable`), ms-swift and XTuner (`loss`, `loss_scale`), slime (`step_loss_mask`) and others.
const YES: [&str; 17] = [
    "weight",
    "train",
    "training",
    "trainable",
    "is_trainable",
    "train_on",
    "do_train",
    "should_train",
    "trained",
    "loss",
    "loss_weight",
    "loss_scale",
    "loss_mask",
    "step_loss_mask",
    "compute_loss",
    "calculate_loss",
    "use_loss",
];

/// Keys that say no by `true` or 1: of torchtune (`masked`) and others.
const NO: [&str; 6] = ["masked", "is_masked", "no_train", "no_loss", "ignore_loss", "skip_loss"];

/// Keys of a row that say yes for all of it, by `true` or 1.
const ROW_YES: [&str; 11] = [
    "weight",
    "sample_weight",
    "example_weight",
    "loss_weight",
    "loss_multiplier",
    "train",
    "training",
    "trainable",
    "is_trainable",
    "do_train",
    "should_train",
];

/// The mark of a message, true if it is to be trained on; none where it has none.
pub(super) fn of_message(keys: &Map<String, Value>, what: &str) -> Result<Option<bool>, Problem> {
    let mut said = Said::default();
    for (key, value) in keys.iter().filter(|(_, value)| !is_nothing(value)) {
        let key = key.as_str();
        if YES.contains(&key) {
            said.take(what, key, yes_or_no(what, key, value)?)?;
        } else if NO.contains(&key) {
            said.take(what, key, !yes_or_no(what, key, value)?)?;
        } else if is_about_training(key) {
            return Err(Problem::TrainedUnclear { what: what.into(), key: key.into() });
        }
    }
    Ok(said.answer())
}

/// The mark of a row, true if it is to be trained on; none where it has none.
pub(super) fn of_row(row: &Map<String, Value>) -> Result<Option<bool>, Problem> {
    let what = "the row";
    let mut said = Said::default();
    for key in ROW_YES {
        if let Some(value) = row.get(key).filter(|value| !is_nothing(value)) {
            said.take(what, key, yes_or_no(what, key, value)?)?;
        }
    }
    for key in NO {
        if let Some(value) = row.get(key).filter(|value| !is_nothing(value)) {
            said.take(what, key, !yes_or_no(what, key, value)?)?;
        }
    }
    // NeMo names the role that is masked; InstructLab can train on the questions as well.
    match row.get("mask") {
        Some(Value::String(role)) if ["user", "human"].contains(&role.to_lowercase().as_str()) => {}
        Some(value) if !is_nothing(value) => {
            return Err(Problem::TrainedUnclear { what: what.into(), key: "mask".into() });
        }
        _ => {}
    }
    if let Some(value) = row.get("unmask").filter(|value| !is_nothing(value))
        && yes_or_no(what, "unmask", value)?
    {
        return Err(Problem::TrainedUser { what: what.into(), key: "unmask".into() });
    }
    Ok(said.answer())
}

/// True if a row's key is one that [`of_row`] reads.
pub(super) fn is_row_key(key: &str) -> bool {
    ROW_YES.contains(&key) || NO.contains(&key) || ["mask", "unmask"].contains(&key)
}

/// True if a message's key is one that [`of_message`] reads.
pub(in crate::data) fn is_message_key(key: &str) -> bool {
    YES.contains(&key) || NO.contains(&key)
}

/// True if an unknown key of a message sounds like it is about training.
fn is_about_training(key: &str) -> bool {
    let words = key.split(|c: char| !c.is_alphanumeric());
    let about = ["train", "training", "trainable", "loss", "mask", "masked", "unmask", "weight", "weights"];
    words.into_iter().any(|word| about.contains(&word.to_lowercase().as_str()))
}

/// Nothing said: a table's way to leave a key away.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn yes_or_no(what: &str, key: &str, value: &Value) -> Result<bool, Problem> {
    match value {
        Value::Bool(answer) => Ok(*answer),
        Value::Number(number) if number.as_f64() == Some(0.0) => Ok(false),
        Value::Number(number) if number.as_f64() == Some(1.0) => Ok(true),
        Value::Number(number) => {
            Err(Problem::TrainedInPart { what: what.into(), key: key.into(), found: number.to_string() })
        }
        other => {
            Err(Problem::TrainedInPart { what: what.into(), key: key.into(), found: kind(other).into() })
        }
    }
}

/// The mark so far, and its key.
#[derive(Default)]
struct Said(Option<(String, bool)>);

impl Said {
    fn take(&mut self, what: &str, key: &str, answer: bool) -> Result<(), Problem> {
        match &self.0 {
            Some((before, other)) if *other != answer => {
                Err(Problem::TrainedContradiction { what: what.into(), keys: [before.clone(), key.into()] })
            }
            _ => {
                self.0 = Some((key.into(), answer));
                Ok(())
            }
        }
    }

    fn answer(self) -> Option<bool> {
        self.0.map(|(_, answer)| answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(keys: Value) -> Result<Option<bool>, String> {
        of_message(keys.as_object().unwrap(), "message 2").map_err(|e| e.to_string())
    }

    fn row(keys: Value) -> Result<Option<bool>, String> {
        of_row(keys.as_object().unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_name_takes_every_way_to_say_it() {
        let values = [(json!(true), true), (json!(1), true), (json!(1.0), true), (json!(false), false)];
        let values = values.into_iter().chain([(json!(0), false), (json!(0.0), false), (json!(-0.0), false)]);
        for (value, said) in values {
            for key in YES {
                assert_eq!(message(json!({ key: value })), Ok(Some(said)), "{key} {value}");
            }
            for key in NO {
                assert_eq!(message(json!({ key: value })), Ok(Some(!said)), "{key} {value}");
                assert_eq!(row(json!({ key: value })), Ok(Some(!said)), "{key} {value}");
            }
            for key in ROW_YES {
                assert_eq!(row(json!({ key: value })), Ok(Some(said)), "{key} {value}");
            }
        }
        for key in YES.into_iter().chain(NO) {
            assert_eq!(message(json!({ key: null })), Ok(None), "{key}");
        }
        assert_eq!(message(json!({"role": "user", "content": "loss"})), Ok(None));
    }

    #[test]
    fn more_than_yes_or_no_is_refused() {
        for value in [json!(0.5), json!(2), json!(-1), json!("0"), json!([0, 1]), json!({})] {
            for key in YES {
                let error = message(json!({ key: value })).unwrap_err();
                assert!(error.starts_with(&format!("`{key}` of message 2 is ")), "{error}");
            }
        }
        for key in ["mask", "train_detail", "lossMask_", "my_loss", "token_weights", "assistant_masks"] {
            let found = message(json!({ key: [1] }));
            assert_eq!(found.is_err(), key != "lossMask_" && key != "assistant_masks", "{key}");
        }
        assert_eq!(message(json!({"train_detail": []})), Ok(None));
        assert!(row(json!({"weight": 0.3})).is_err());
    }

    #[test]
    fn two_that_disagree_are_refused_and_two_that_agree_taken() {
        assert_eq!(message(json!({"weight": 0, "train": false, "masked": true})), Ok(Some(false)));
        let error = message(json!({"weight": 0, "train": true})).unwrap_err();
        assert_eq!(error, "`weight` and `train` of message 2 contradict each other");
        assert!(message(json!({"weight": 1, "masked": 1})).is_err());
        assert!(row(json!({"weight": 1, "train": false})).is_err());
    }

    #[test]
    fn roles_that_are_masked_may_be_the_users_alone() {
        assert_eq!(row(json!({"mask": "User"})), Ok(None));
        assert!(row(json!({"mask": "Assistant"})).is_err());
        assert!(row(json!({"mask": [1, 0]})).is_err());
        assert_eq!(row(json!({"unmask": false})), Ok(None));
        assert!(row(json!({"unmask": true})).is_err());
    }
}
