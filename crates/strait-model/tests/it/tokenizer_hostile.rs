//! Tokenizer folders that are damaged, or made to do harm: each is refused in words, or does what it says.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strait_model::{Conversation, Message, Role, Tokenizer, tokenizer::Problem};
use tempfile::TempDir;

const TEMPLATE: &str = "{% for m in messages %}{{ '[' + m.role + ']' + m.content + '\n' }}{% endfor %}\
                        {% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}";

/// A tokenizer of printable ASCII, character by character.
fn tokenizer() -> Value {
    let vocab: serde_json::Map<_, _> =
        (' '..='~').chain(['Ġ', 'Ċ', '▁']).zip(0..).map(|(c, id)| (c.to_string(), json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "vocab": vocab, "merges": []},
    })
}

fn config() -> Value {
    json!({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE})
}

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let usual =
        [("tokenizer.json", tokenizer().to_string()), ("tokenizer_config.json", config().to_string())];
    for (name, content) in usual.iter().chain(files) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn open(files: &[(&str, String)]) -> Result<Tokenizer, strait_model::Error> {
    Tokenizer::from_folder(folder(files).path())
}

fn chat() -> Conversation {
    vec![Message::new(Role::User, "a cat?"), Message::new(Role::Assistant, "a hat")].into()
}

/// An error's words, after a look at whether they are fit to print.
#[track_caller]
fn words(error: strait_model::Error) -> String {
    let message = error.to_string();
    assert!(message.starts_with('`') && !message.ends_with('.') && !message.contains('\n'), "{message}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{message}");
    message
}

#[track_caller]
fn refused(files: &[(&str, String)]) -> String {
    words(open(files).expect_err("an error"))
}

/// The result of all uses of a tokenizer, within a time.
fn used(changes: &[(&str, Value)]) -> Result<Vec<u32>, String> {
    let mut file = tokenizer();
    for (key, value) in changes {
        file[*key] = value.clone();
    }
    let start = Instant::now();
    let result = open(&[("tokenizer.json", file.to_string())]).and_then(|tokenizer| {
        let ids = tokenizer.encode_chat(&chat())?.ids;
        tokenizer.encode("a cat", true)?;
        tokenizer.encode("", true)?;
        tokenizer.encode_start(&"a cat ".repeat(1000), 16)?;
        tokenizer.decode(&ids, false)?;
        let mut stream = tokenizer.stream();
        for &id in &ids {
            stream.push(id)?;
        }
        stream.finish()?;
        Ok(ids)
    });
    assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {changes:?}", start.elapsed());
    result.map_err(words)
}

#[test]
fn panics_of_the_library_are_errors() {
    let regex = |pattern: &str| json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "xx"});
    let charsmap = |table: &str| json!({"type": "Precompiled", "precompiled_charsmap": table});
    let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": [],
                          "special_tokens": {"[X]": {"id": "[X]", "ids": [0, 1, 2], "tokens": ["x"]}}});
    let mut seen = 0;
    for (key, value) in [
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        ("normalizer", regex("$")),
        ("normalizer", regex("^")),
        ("normalizer", regex("x*")),
        ("normalizer", regex(r"\b")),
        ("normalizer", json!({"type": "Replace", "pattern": {"String": ""}, "content": "yy"})),
        ("normalizer", charsmap("BAAAAP////9hYmM=")),
        ("normalizer", charsmap("AAAAAA==")),
        ("normalizer", charsmap("")),
        ("post_processor", template),
        (
            "post_processor",
            json!({"type": "BertProcessing", "sep": ["[SEP]", 4_000_000_000u32], "cls": ["[CLS]", 1]}),
        ),
        ("decoder", json!({"type": "Replace", "pattern": {"Regex": "$"}, "content": "xx"})),
        ("decoder", json!({"type": "Strip", "content": "a", "start": 1000, "stop": 1000})),
        ("decoder", json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true})),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false}),
        ),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": true}),
        ),
        ("model", json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]})),
        ("model", json!({"type": "Unigram", "vocab": [], "unk_id": 7})),
        ("model", json!({"type": "Unigram", "vocab": [["a", "NaN"]], "unk_id": null})),
        ("model", json!({"type": "WordLevel", "vocab": {}, "unk_token": "nowhere"})),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {}, "unk_token": "nowhere", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        ),
        ("model", json!({"type": "BPE", "vocab": {"a": u32::MAX}, "merges": []})),
        (
            "added_tokens",
            json!([{"id": u32::MAX, "content": "a", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}]),
        ),
    ] {
        seen += usize::from(used(&[(key, value)]).is_err());
    }
    assert!(seen >= 6, "only {seen} are errors");
}

#[test]
fn texts_do_not_grow_without_bound() {
    let replace = |n| json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(n)});
    let sequence = |key: &str, part: Value, n| json!({"type": "Sequence", key: vec![part; n]});
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false});
    for (key, value) in [
        ("normalizer", sequence("normalizers", replace(100), 5)),
        ("normalizer", sequence("normalizers", replace(2), 60)),
        ("normalizer", sequence("normalizers", sequence("normalizers", replace(2), 8), 8)),
        ("pre_tokenizer", sequence("pretokenizers", level, 40)),
        ("decoder", sequence("decoders", replace(100), 5)),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "special_tokens": {}, "pair": [],
                                  "single": vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 100_000]}),
        ),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": "##",
                         "max_input_chars_per_word": 1_000_000_000u64}),
        ),
    ] {
        let error = used(&[(key, value)]).unwrap_err();
        assert!(error.contains("limit"), "{error}");
    }
    // What grows a little is carried out.
    let ids = used(&[("normalizer", replace(3))]).unwrap();
    assert!(ids.len() > used(&[]).unwrap().len());
}

#[test]
fn keys_that_stand_twice_are_refused() {
    for (file, content) in [
        ("tokenizer.json", tokenizer().to_string().replacen('{', "{\"version\": \"1.0\", ", 1)),
        ("tokenizer.json", tokenizer().to_string().replace("\"vocab\":{", "\"vocab\":{\"a\": 7, ")),
        ("tokenizer_config.json", "{\"bos_token\": \"a\", \"bos_token\": \"b\"}".into()),
        (
            "tokenizer_config.json",
            "{\"added_tokens_decoder\": {\"7\": {\"content\": \"a\", \"content\": \"b\"}}}".into(),
        ),
        ("special_tokens_map.json", "{\"bos_token\": \"a\", \"bos_token\": \"a\"}".into()),
        ("added_tokens.json", "{\"x\": 99, \"x\": 98}".into()),
        ("generation_config.json", "{\"eos_token_id\": 1, \"eos_token_id\": 2}".into()),
        ("config.json", "{\"a\": {\"b\": 1, \"b\": 1}}".into()),
    ] {
        let error = refused(&[(file, content)]);
        assert!(error.contains(file) && error.contains("stands twice"), "{error}");
    }
}

#[test]
fn what_transformers_would_make_of_other_files_is_refused_by_name() {
    let with = |key: &str, value: Value, class: &str| {
        let mut config = config();
        config["tokenizer_class"] = class.into();
        config[key] = value;
        refused(&[("tokenizer_config.json", config.to_string())])
    };
    let plain = "PreTrainedTokenizerFast";
    for (key, value, class) in [
        ("from_slow", json!(true), plain),
        ("tokenizer_file", json!(null), plain),
        ("fast_tokenizer_files", json!(["tokenizer.4.0.0.json", "tokenizer.json"]), plain),
        ("fix_mistral_regex", json!(true), plain),
        ("add_prefix_space", json!(false), "LlamaTokenizer"),
        ("add_bos_token", json!("yes"), "LlamaTokenizerFast"),
        ("bos_token", json!(7), plain),
        ("bos_token", json!({"content": "a"}), plain),
        ("extra_special_tokens", json!(["a"]), plain),
        ("additional_special_tokens", json!("a"), plain),
        ("added_tokens_decoder", json!({"x": {"content": "a"}}), plain),
        ("tokenizer_class", json!(["a"]), plain),
        ("chat_template", json!(7), plain),
        ("chat_template", json!([{"name": "default"}]), plain),
    ] {
        let error = with(key, value, class);
        assert!(error.contains(key), "{key}: {error}");
    }
    let error = with("x", json!(1), "BertJapaneseTokenizer");
    assert!(error.contains("`BertJapaneseTokenizer`") && error.contains("`LlamaTokenizer`"), "{error}");
    let error = with("bos_token", json!(null), "LlamaTokenizer");
    assert!(error.contains("`add_bos_token` is true, but there is no `bos_token`"), "{error}");
    let error = with("chat_template", json!("{{ additional_special_tokens }}"), plain);
    assert!(error.contains("additional_special_tokens"), "{error}");

    for file in ["tokenizer.model", "vocab.json", "vocab.txt"] {
        let folder = folder(&[(file, String::new())]);
        std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        let error = words(Tokenizer::from_folder(folder.path()).unwrap_err());
        assert!(error.contains(file) && error.contains("no `tokenizer.json`"), "{error}");
    }
    let mut drops = tokenizer();
    drops["model"]["dropout"] = json!(0.1);
    assert!(refused(&[("tokenizer.json", drops.to_string())]).contains("dropout"));
}

#[test]
fn templates_that_are_no_text_are_refused() {
    let folder = folder(&[]);
    std::fs::write(folder.path().join("chat_template.jinja"), b"{{ x }}\xff").unwrap();
    assert!(
        words(Tokenizer::from_folder(folder.path()).unwrap_err())
            .contains("`chat_template.jinja` is not UTF-8")
    );
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    let more = folder.path().join("additional_chat_templates");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("default.jinja"), "x".repeat(1 << 20)).unwrap();
    words(Tokenizer::from_folder(folder.path()).unwrap_err());
    std::fs::write(more.join("default.jinja"), "from a folder").unwrap();
    std::fs::write(more.join("tool_use.jinja"), "with tools").unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert_eq!(tokenizer.render(&chat(), false).unwrap(), "from a folder");
    let with_tools = Conversation { tools: Some(json!([])), ..chat() };
    assert_eq!(tokenizer.render(&with_tools, false).unwrap(), "with tools");
    std::fs::remove_file(more.join("default.jinja")).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert!(tokenizer.has_chat_template());
    assert!(words(tokenizer.render(&chat(), false).unwrap_err()).contains("none is named `default`"));
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_not_waited_for() {
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"]
    {
        let folder = folder(&[]);
        let path = folder.path().join(file);
        std::fs::remove_file(&path).ok();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = words(Tokenizer::from_folder(folder.path()).unwrap_err());
        assert!(error.contains(&format!("{file}`: this is a pipe (FIFO), not a file")), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        words(Tokenizer::from_folder(folder.path()).unwrap_err());
    }
}

#[test]
fn tokens_beyond_the_embedding_are_named() {
    let mut tokenizer = open(&[]).unwrap();
    let tilde = tokenizer.encode("~", false).unwrap()[0];
    tokenizer.limit_to(tilde as usize);
    assert!(tokenizer.encode("acat", true).is_ok());
    for error in [
        tokenizer.encode("a~", false).unwrap_err(),
        tokenizer.encode_start("a~", 7).unwrap_err(),
        tokenizer.encode_prompt(&vec![Message::new(Role::User, "~")].into()).unwrap_err(),
        tokenizer
            .encode_chat(&vec![Message::new(Role::User, "~"), Message::new(Role::Assistant, "b")].into())
            .unwrap_err(),
    ] {
        assert!(
            matches!(error.problem(), Some(Problem::BeyondEmbedding { id, .. }) if *id == tilde),
            "{error}"
        );
        let message = words(error);
        assert!(message.contains("`~`") && message.contains(&format!("{tilde} rows")), "{message}");
    }
}

#[test]
fn nested_deep_and_long_lists_do_no_harm() {
    let deep =
        format!("{}{}", "{\"type\":\"Sequence\",\"normalizers\":[".repeat(10_000), "]}".repeat(10_000));
    let file = tokenizer().to_string().replace("\"normalizer\":null", &format!("\"normalizer\":{deep}"));
    assert!(refused(&[("tokenizer.json", file)]).contains("recursion"));
    let start = Instant::now();
    let mut many = tokenizer();
    many["added_tokens"] = (0..50_000)
        .map(|i| json!({"id": 98 + i, "content": format!("<{i}>"), "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": i % 2 == 0}))
        .collect();
    let tokenizer = open(&[("tokenizer.json", many.to_string())]).unwrap();
    assert_eq!(tokenizer.encode("<49999>", false).unwrap(), [98 + 49_999]);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(Tokenizer::from_folder(Path::new("/nowhere")).is_err());
}
