//! Rows of chats in all the formats in which people keep them.

use std::{fs, path::Path};

use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use strait::data::{Chat, Notices, RowSource, inspect, read_chats, read_chats_noting};

/// Chats and notices of some rows.
fn noting(rows: &[Value]) -> Result<(Vec<Chat>, Notices), String> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let mut notices = Notices::default();
    let chats = read_chats_noting(&RowSource::File(file.path().into()), &mut notices);
    let chats = chats.map_err(|error| format!("{error}\n{}", error.hint().unwrap()));
    Ok((chats.map_err(|e| e.replace(&format!("`{}`", file.path().display()), "`f`"))?, notices))
}

fn read(row: &Value) -> Result<Chat, String> {
    noting(std::slice::from_ref(row)).map(|(mut chats, _)| chats.remove(0))
}

fn refused(row: &Value) -> String {
    match read(row) {
        Ok(chat) => panic!("{row} is read as {chat:?}"),
        Err(error) => error,
    }
}

/// A row's messages, as a template sees them, and which answers are trained on.
fn said(row: &Value) -> (Value, Vec<bool>) {
    let chat = read(row).unwrap_or_else(|error| panic!("{row}: {error}"));
    let trained = chat.conversation.messages.iter().filter(|m| m.is_answer()).map(|m| m.trained).collect();
    (serde_json::to_value(chat.conversation).unwrap(), trained)
}

fn turn(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// Two rows that say the same.
fn same(row: Value, messages: Value) {
    let expected = match messages {
        Value::Array(_) => json!({"messages": messages}),
        row => row,
    };
    assert_eq!(said(&row), said(&expected), "{row}");
}

#[test]
fn every_format_says_what_messages_say() {
    let (ask, answer) = (turn("user", "Q"), turn("assistant", "A"));
    let plain = json!([ask, answer]);
    let list = json!([{"role": "user", "content": "Q"}]);
    let answered = json!([{"role": "assistant", "content": "A"}]);
    for row in [
        json!({"conversations": plain}),
        json!({"conversation": plain}),
        json!({"messages": plain, "conversations": null}),
        json!({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}),
        json!({"conversations": [{"from": "user", "value": "Q"}, {"from": "assistant", "value": "A"}]}),
        json!({"conversations": [{"from": "User", "value": "Q"}, {"from": "Assistant", "value": "A"}], "mask": "User"}),
        json!({"messages": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", "markdown": null}]}),
        json!({"prompt": "Q", "completion": "A"}),
        json!({"prompt": list, "completion": answered}),
        json!({"prompt": list, "completion": "A"}),
        json!({"prompt": "Q", "response": "A"}),
        json!({"question": "Q", "answer": "A"}),
        json!({"question": "Q", "response": "A"}),
        json!({"query": "Q", "response": "A", "history": []}),
        json!({"instruction": "Q", "output": "A"}),
        json!({"instruction": "Q", "input": "", "output": "A", "text": "Below is an instruction"}),
        json!({"instruction": "Q", "input": null, "output": "A", "history": null, "system": ""}),
        json!({"instruction": "Q", "context": "", "response": "A", "category": "open_qa"}),
        json!({"input": "Q", "output": "A"}),
        json!({"messages": plain, "prompt": "Q", "completion": "A", "tools": null}),
        json!({"messages": plain, "prompt": "Q", "prompt_id": "7"}),
    ] {
        same(row, plain.clone());
    }
}

#[test]
fn longer_conversations_keep_their_turns() {
    let history = [turn("user", "Q1"), turn("assistant", "A1"), turn("user", "Q2"), turn("assistant", "A2")];
    let with_system = [&[turn("system", "S")][..], &history].concat();
    same(
        json!({"instruction": "Q2", "output": "A2", "history": [["Q1", "A1"]], "system": "S"}),
        json!(with_system),
    );
    same(json!({"query": "Q2", "response": "A2", "history": [["Q1", "A1"]]}), json!(history));
    same(json!({"messages": history, "system": "S"}), json!(with_system));
    same(json!({"messages": with_system, "system": "S"}), json!(with_system));
    same(json!({"conversations": with_system, "system_prompt": "S"}), json!(with_system));
    let sharegpt: Vec<Value> =
        [("system", "S"), ("human", "Q1"), ("gpt", "A1"), ("human", "Q2"), ("gpt", "A2")]
            .map(|(from, value)| json!({"from": from, "value": value}))
            .into();
    same(json!({"conversations": sharegpt}), json!(with_system));
    same(json!({"conversations": sharegpt[1..].to_vec(), "system": "S"}), json!(with_system));
    same(json!({"conversations": sharegpt[2..].to_vec()}), json!(history[1..].to_vec()));
    same(
        json!({"instruction": "Sort.", "input": "b a", "output": "a b"}),
        json!([turn("user", "Sort.\nb a"), turn("assistant", "a b")]),
    );
    // As TRL does: answers in the prompt are not trained on.
    let (_, trained) = said(&json!({"prompt": history[..3], "completion": [history[3]]}));
    assert_eq!(trained, [false, true]);
}

#[test]
fn keys_and_tools_are_kept_as_they_are() {
    let call =
        json!([{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}}]);
    let messages = json!([
        {"content": "Q", "role": "user", "name": "Ann"},
        {"role": "assistant", "content": null, "tool_calls": call, "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "assistant", "content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "3."}], "thinking": "so"},
    ]);
    let tools = json!([{"type": "function", "function": {"name": "add", "parameters": {"b": 1, "a": 2}}}]);
    let expected = json!({"messages": messages, "tools": tools});
    for row in [
        json!({"messages": messages, "tools": tools}),
        json!({"messages": messages, "tools": tools.to_string(), "parallel_tool_calls": false}),
        json!({"conversations": messages, "tools": tools}),
    ] {
        let (found, trained) = said(&row);
        // As text: equal values may differ in the order of their keys, which templates write.
        assert_eq!(found.to_string(), expected.to_string());
        assert_eq!(trained, [true, true]);
    }
    let (found, _) = said(&json!({"messages": messages, "tools": []}));
    assert_eq!(found["tools"], json!([]));
    for none in [json!(null), json!(""), json!("null")] {
        assert_eq!(said(&json!({"messages": messages, "tools": none})).0.get("tools"), None);
    }
    let calls = json!([{"from": "human", "value": "Q"},
        {"from": "function_call", "value": "{\"name\": \"add\", \"arguments\": {\"a\": 1}}"},
        {"from": "observation", "value": "3"}, {"from": "gpt", "value": "3"}]);
    let call = json!([{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]);
    same(
        json!({"conversations": calls, "tools": tools.to_string()}),
        json!({"messages": [turn("user", "Q"), {"role": "assistant", "content": "", "tool_calls": call}, turn("tool", "3"),
            turn("assistant", "3")], "tools": tools}),
    );
}

#[test]
fn turns_that_are_marked_are_not_trained_on() {
    let marks = [
        ("weight", json!(0)),
        ("weight", json!(0.0)),
        ("train", json!(false)),
        ("trainable", json!(false)),
        ("training", json!(false)),
        ("loss", json!(false)),
        ("loss_mask", json!(0)),
        ("loss_weight", json!(0)),
        ("masked", json!(true)),
    ];
    for (key, value) in marks {
        for (role, content, name, yes) in
            [("role", "content", "assistant", "user"), ("from", "value", "gpt", "human")]
        {
            let row = json!({"messages": [
                {role: yes, content: "Q1"},
                {role: name, content: "A1", key: value},
                {role: yes, content: "Q2", key: value},
                {role: name, content: "A2"},
            ]});
            let (found, trained) = said(&row);
            assert_eq!(trained, [false, true], "{row}");
            assert_eq!(found["messages"][1][key], value, "the template gets it");
            // The other way round: nothing is left.
            let row = json!({"messages": [{role: yes, content: "Q"}, {role: name, content: "", key: value}]});
            assert!(refused(&row).starts_with("`f`: every answer of every row is marked"), "{row}");
        }
        let rows = [
            json!({"messages": [turn("user", "Q"), {"role": "assistant", "content": "A", key: value}]}),
            json!({"messages": [turn("user", "Q"), turn("assistant", "A"), {"role": "assistant", "content": "B", key: value}]}),
        ];
        let (chats, notices) = noting(&rows).unwrap();
        assert_eq!((chats.len(), notices.rows_left_out, notices.untrained_answers), (1, 1, 1), "{key}");
    }
    let row = |weight: Value| json!({"prompt": "Q", "completion": "A", "weight": weight});
    assert_eq!(said(&row(json!(1))).1, [true]);
    assert!(refused(&row(json!(0))).starts_with("`f`: every answer"));
    assert!(refused(&row(json!(0.5))).contains("`weight` of the row is 0.5"));
}

#[test]
fn what_is_not_read_is_named_with_its_remedy() {
    let plain = json!([turn("user", "Q"), turn("assistant", "A")]);
    let with = |key: &str, value: Value| {
        let mut row = json!({"messages": plain});
        row[key] = value;
        row
    };
    let message = |keys: Value| {
        let mut answer = turn("assistant", "A");
        answer.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        json!({"messages": [turn("user", "Q"), answer]})
    };
    let mut all = String::new();
    for row in [
        json!({"text": "plain"}),
        json!({"input_ids": [1, 2], "labels": [1, 2]}),
        json!({"segments": [{"label": true, "text": "A"}]}),
        json!({"prompt": "Q", "chosen": "A", "rejected": "B"}),
        json!({"chosen": plain, "rejected": plain}),
        json!({"prompt": "Q", "completion": "A", "label": false}),
        json!({"contents": [{"role": "user", "parts": [{"text": "Q"}]}]}),
        json!({"prompt": "Q", "completion": ""}),
        json!({"prompt": 3, "completion": "A"}),
        json!({"instruction": "Q", "context": "C", "response": "A"}),
        json!({"question": "Q", "input": "C", "answer": "A"}),
        json!({"instruction": "Q", "output": "A", "history": [["Q1"]]}),
        json!({"messages": plain, "prompt": "Q", "completion": "B"}),
        json!({"messages": plain, "conversations": [turn("assistant", "B")]}),
        json!({"messages": [turn("system", "S"), turn("assistant", "A")], "system": "T"}),
        json!({"messages": [{"role": "model", "content": "A"}]}),
        json!({"messages": [{"role": "Human", "content": "A"}]}),
        json!({"messages": [{"role": "ipython", "content": "A"}]}),
        json!({"messages": [{"role": "critic", "content": "A"}]}),
        json!({"conversations": [{"from": "robot", "value": "A"}]}),
        json!({"conversations": [{"from": "gpt", "value": "A", "content": "B"}]}),
        json!({"conversations": [{"from": "function_call", "value": "add(1)"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"text": "Q"}]}]}),
        json!({"messages": [{"role": "user", "content": null}, turn("assistant", "A")]}),
        json!({"messages": [{"role": "assistant", "content": null}]}),
        json!({"messages": [{"role": "assistant"}]}),
        json!({"messages": [{"role": "assistant", "content": null, "tool_calls": []}]}),
        json!({"messages": [{"role": "assistant", "content": "", "tool_calls": "add"}]}),
        with("functions", json!([{"name": "add"}])),
        with("chat_template_kwargs", json!({"enable_thinking": false})),
        with("documents", json!([{"text": "d"}])),
        with("images", json!(["a.png"])),
        with("tools", json!("add")),
        with("tools", json!({"name": "add"})),
        with("tools", json!(["add"])),
        with("mask", json!("Assistant")),
        with("unmask", json!(true)),
        with("loss_multiplier", json!(0.25)),
        message(json!({"function_call": {"name": "add", "arguments": "{}"}})),
        message(json!({"audio": {"id": "a"}})),
        message(json!({"weight": 0.5})),
        message(json!({"weight": "0"})),
        message(json!({"weight": 1, "train": false})),
        message(json!({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": false}]})),
        message(json!({"token_mask": [0, 1]})),
        message(json!({"seed": 1e300})),
        json!({"messages": [{"role": "user", "content": "Q", "train": true}, turn("assistant", "A")]}),
    ] {
        all += &format!("{row}\n{}\n\n", refused(&row));
    }
    insta::assert_snapshot!("rows", all);
}

#[test]
fn lines_that_are_no_rows_are_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let good = r#"{"messages": [{"role": "assistant", "content": "A"}]}"#;
    for (bytes, expected) in [
        (&br#"{"messages": [{"role": "assistant", "content": "\ud800"}]}"#[..], "hex escape"),
        (br#"{"messages": [{"role": "assistant", "content": "\ud800\u0041"}]}"#, "surrogate"),
        (br#"{"messages": [{"role": "assistant", "content": "\udc00"}]}"#, "surrogate"),
        (b"{\"messages\": [{\"role\": \"assistant\", \"content\": \"\x00\"}]}", "control character"),
        (br#"{"messages": [{"role": "assistant", "content": "A", "x": 1e999}]}"#, "number out of range"),
        (br#"{"messages": [{"role": "assistant", "content": "A", "x": NaN}]}"#, "expected value"),
        (br#"{"messages": [{"role": "assistant", "content": "A", "role": "user"}]}"#, "stands twice"),
        (b"{\n\"messages\": []\n}", "EOF"),
        (b"{\"messages\": []}\r{\"messages\": []}", "trailing characters"),
        (b"messages\nhello", "expected value"),
    ] {
        fs::write(file.path(), [good.as_bytes(), b"\r\n", bytes].concat()).unwrap();
        let error = read_chats(&RowSource::File(file.path().into())).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains("line 2") && shown.contains(expected), "{shown}");
        assert!(error.hint().is_some());
    }
    let deep = format!(r#"{{"messages": {}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    fs::write(file.path(), deep).unwrap();
    let error = read_chats(&RowSource::File(file.path().into())).unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn text_is_kept_to_the_character() {
    let text = "\u{feff}a\u{0}b\u{2028}c\u{85}d\u{1f600}\r\n\t\u{b}e\u{fffd}";
    let (found, _) = said(&json!({"messages": [turn("user", text), turn("assistant", text)]}));
    assert_eq!(found["messages"][0]["content"], text);
}

#[test]
fn files_that_are_no_files_and_other_kinds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = read_chats(&RowSource::File(folder.path().into())).unwrap_err();
    assert!(error.to_string().contains("a folder, not a file") && error.hint().is_some());
    let path = folder.path().join("rows.jsonl");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    fs::write(&path, pointer).unwrap();
    let error = read_chats(&RowSource::File(path)).unwrap_err();
    assert!(error.to_string().contains("Git LFS pointer"), "{error}");
    assert!(error.hint().unwrap().contains("git lfs pull"));
    #[cfg(unix)]
    {
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let error = read_chats(&RowSource::File(fifo)).unwrap_err();
        assert!(error.to_string().contains("a pipe (FIFO), not a file"), "{error}");
    }
}

#[test]
fn unknown_keys_are_counted_and_known_ones_are_not() {
    let row = |more: Value| {
        let mut row = json!({"messages": [turn("user", "Q"), {"role": "assistant", "content": "A", "mood": "glad", "name": "B"}],
            "id": 1, "source": "s", "metadata": {"a": 1}, "wanted": null, "list": [], "prompt": "Q"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let (_, notices) =
        noting(&[row(json!({"style": "short"})), row(json!({"style": "long", "chosen": "x"}))]).unwrap();
    assert_eq!(
        serde_json::to_value(&notices).unwrap(),
        json!({"unknown_row_keys": {"style": 2, "chosen": 1}, "unknown_message_keys": {"mood": 2}})
    );
    assert_eq!(notices.lines().len(), 2);
}

#[test]
fn inspect_counts_formats_and_what_is_left_out() {
    let rows = [
        json!({"messages": [turn("user", "Q"), turn("assistant", "A"), {"role": "assistant", "content": "B", "weight": 0}]}),
        json!({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}),
        json!({"instruction": "Q", "output": "A", "zest": 1}),
        json!({"prompt": "Q", "completion": "A", "weight": 0}),
    ];
    let texts = [
        rows.iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes(),
        serde_json::to_string_pretty(&rows).unwrap().into_bytes(),
    ];
    for text in texts {
        for packed in [text.clone(), compress_to_vec(&text[..], CompressionLevel::Fastest)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &packed).unwrap();
            let summary = inspect(&RowSource::File(file.path().into())).unwrap();
            let found = serde_json::to_value(&summary).unwrap();
            assert_eq!(
                found["formats"],
                json!({"Alpaca": 1, "ShareGPT": 1, "messages": 1, "prompt/completion": 1})
            );
            assert_eq!((summary.rows, summary.responses), (4, 3));
            let notices =
                json!({"rows_left_out": 1, "untrained_answers": 1, "unknown_row_keys": {"zest": 1}});
            assert_eq!(found["notices"], notices);
            assert_eq!(summary.sha256, strait_model::files::sha256_of(file.path(), |_| ()).unwrap());
        }
    }
}

/// Any JSON, small.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,3}|.{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = "role|content|from|value|weight|train|tool_calls|type|text|name|[a-z]{1,3}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_said_in_two_formats_is_the_same(
        system in prop::option::of("\\PC{1,9}x"),
        rounds in prop::collection::vec(("\\PC{0,9}", "\\PC{0,9}x"), 1..4),
    ) {
        let mut messages: Vec<Value> = system.iter().map(|text| turn("system", text)).collect();
        let mut sharegpt: Vec<Value> = Vec::new();
        for (asked, answered) in &rounds {
            messages.extend([turn("user", asked), turn("assistant", answered)]);
            sharegpt.extend([json!({"from": "human", "value": asked}), json!({"from": "gpt", "value": answered})]);
        }
        let (last, history) = rounds.split_last().unwrap();
        let expected = said(&json!({"messages": messages}));
        prop_assert_eq!(&said(&json!({"conversations": sharegpt, "system": system})), &expected);
        prop_assert_eq!(
            &said(&json!({"instruction": last.0, "input": " ", "output": last.1, "history": history, "system": system})),
            &expected
        );
        prop_assert_eq!(&said(&json!({"query": last.0, "response": last.1, "history": history, "system": system})), &expected);
    }

    #[test]
    fn any_value_under_any_key_is_read_or_refused(
        key in "messages|conversations|prompt|completion|tools|system|history|weight|mask|input|label|id|domain",
        value in any_json(),
    ) {
        let mut row = json!({"messages": [turn("user", "Q"), turn("assistant", "A")], "prompt": "Q", "completion": "A"});
        row[&key] = value;
        noting(&[row]).ok();
    }
}

#[test]
fn the_same_rows_are_read_however_they_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data");
    let text = fs::read(fixtures.join("plants/plain.jsonl")).unwrap();
    let packed = folder.path().join("rows");
    let expected: Vec<_> = {
        fs::write(&packed, &text).unwrap();
        read_chats(&RowSource::File(packed.clone())).unwrap()
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &text).unwrap();
    for bytes in [
        gzip.finish().unwrap(),
        // As `scripts/golden/packed.py` packed it: two frames of the highest level.
        fs::read(fixtures.join("packed/plain.jsonl.zst")).unwrap(),
        [b"\xef\xbb\xbf", &text[..]].concat(),
    ] {
        fs::write(&packed, &bytes).unwrap();
        assert_eq!(read_chats(&RowSource::File(packed.clone())).unwrap(), expected);
        fs::write(&packed, &bytes[..bytes.len() - 9]).unwrap();
        let error = read_chats(&RowSource::File(packed.clone())).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
    }
}
