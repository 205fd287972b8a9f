//! Chats as rows: what is counted, what is left out and said.

use std::{path::Path, sync::Mutex};

use candle_core::Device;
use serde_json::json;
use strait::{
    data::{Chat, RowSource, read_chats},
    objective::Row,
};
use strait_model::{
    Model, Precision,
    progress::{Progress, Silent, Task, Unit},
    source::{Located, Road},
};

/// A template that writes thoughts for what follows the last question only.
const FORGETFUL: &str = "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}\
    {%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}\
    {%- if m.role == 'assistant' and loop.index0 > ns.last %}{{- '<think></think>' }}{%- endif %}\
    {{- m.content + '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}";

/// The tiny Llama with this template.
fn model(template: &str) -> (tempfile::TempDir, Model) {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(tiny).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let located = located(folder.path());
    let model = Model::load(&located, &Device::Cpu, Precision::F32).unwrap();
    (folder, model)
}

fn located(folder: &Path) -> Located {
    Located { name: "tiny".into(), path: folder.into(), road: Road::Path, revision: None }
}

/// Rows of these messages.
fn chats(rows: &[&[(&str, &str)]]) -> Vec<Chat> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let line = |messages: &[(&str, &str)]| {
        let messages: Vec<_> =
            messages.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
        json!({ "messages": messages }).to_string() + "\n"
    };
    std::fs::write(&path, rows.iter().map(|row| line(row)).collect::<String>()).unwrap();
    read_chats(&RowSource::File(path)).unwrap()
}

/// Keeps the notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(Silent)
    }
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

#[test]
fn turns_left_out_are_said_once_with_their_count() {
    let (_folder, model) = model(FORGETFUL);
    let two = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")];
    let three = [&two[..], &[("user", "e"), ("assistant", "f")]].concat();
    let chats = chats(&[&two[..2], &two, &three]);
    let notes = Notes::default();
    let rows = Row::from_chats(&model, &chats, &notes).unwrap();
    assert_eq!(rows.iter().map(|row| row.responses.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let notes = notes.0.into_inner().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("no responses: 3, in 2 of 3 rows") && notes[0].contains("line 2"), "{notes:?}");
    let quiet = Notes::default();
    Row::from_chats(&model, &chats[..1], &quiet).unwrap();
    assert!(quiet.0.into_inner().unwrap().is_empty());
}

#[test]
fn rows_that_do_not_fit_name_their_place() {
    let (_folder, model) = model(FORGETFUL);
    let long = "word ".repeat(10_000);
    let short = [("user", "a"), ("assistant", "b")];
    let chats = chats(&[&short, &[("user", "a"), ("assistant", &long)]]);
    let error = Row::from_chats(&model, &chats, &Silent).unwrap_err();
    assert!(error.to_string().contains("line 2") && error.to_string().contains("longer"), "{error}");
}
