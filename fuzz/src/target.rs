//! The readers, each as a function of bytes.

use std::{fs, path::Path};

use candle_core::Device;
use strait::{
    data::{
        Archive, Notices, RowSource, Variants, read_chats, read_judged, read_passages, read_prompts,
        read_scored,
    },
    study::{StudyFile, status},
    train::SolutionFolder,
};
use strait_model::{Config, Conversation, Gguf, Message, Role, Tokenizer, Weights, edit};

/// A reader.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// Reads the bytes; may use the folder.
    pub read: fn(&[u8], &Path),
}

/// All of them.
pub const TARGETS: [Target; 17] = [
    Target { name: "gguf", read: gguf },
    Target { name: "safetensors", read: safetensors },
    Target { name: "config", read: config },
    Target { name: "tokenizer", read: tokenizer },
    Target { name: "tokenizer-config", read: tokenizer_config },
    Target { name: "template", read: template },
    Target { name: "adapter-config", read: adapter_config },
    Target { name: "edit", read: edit_file },
    Target { name: "pickle", read: pickle },
    Target { name: "jsonl", read: jsonl },
    Target { name: "judged", read: judged },
    Target { name: "questions", read: questions },
    Target { name: "parquet", read: parquet },
    Target { name: "study", read: study },
    Target { name: "archive", read: archive },
    Target { name: "run-state", read: run_state },
    Target { name: "checkpoint", read: checkpoint },
];

/// Writes a file. A full disk is no reader's fault and ends the fuzzing.
fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = folder.join(name);
    // A training folder that is begun anew removes itself.
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

fn chat() -> Conversation {
    vec![
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "What is a café?"),
        Message::new(Role::Assistant, "A place with lamps 🙂."),
    ]
    .into()
}

/// Uses a tokenizer as a run does.
fn use_tokenizer(tokenizer: &Tokenizer) {
    let _ = tokenizer.encode_chat(&chat());
    let _ = tokenizer.encode_prompt(&chat());
    if let Ok(ids) = tokenizer.encode("The lamp\n  is ½ lit 🙂 <|im_end|>", true) {
        let _ = tokenizer.decode(&ids, true);
        let mut stream = tokenizer.stream();
        for id in ids {
            let _ = stream.push(id);
        }
        let _ = stream.finish();
    }
}

fn gguf(bytes: &[u8], scratch: &Path) {
    let path = write(scratch, "model.gguf", bytes);
    let Ok(file) = Gguf::open(&path) else { return };
    let _ = Config::from_gguf(&path, &file);
    for tensor in file.tensors() {
        let _ = file.dequantise(&tensor.name);
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&path, &file) {
        use_tokenizer(&tokenizer);
    }
    let _ = Weights::open(&path);
    let _ = edit::read(&path.to_string_lossy());
}

/// A model of one block of width 4.
const CONFIG: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":4,"intermediate_size":8,"num_hidden_layers":1,
"num_attention_heads":1,"num_key_value_heads":1,"vocab_size":8,"rms_norm_eps":1e-5,"max_position_embeddings":64,"tie_word_embeddings":true}"#;

fn safetensors(bytes: &[u8], scratch: &Path) {
    write(scratch, "config.json", CONFIG);
    write(scratch, "model.safetensors", bytes);
    let Ok(weights) = Weights::open(scratch) else { return };
    let _ = weights.tensor("model.embed_tokens.weight", &[8, 4], &Device::Cpu);
    let _ = weights.tensor("model.norm.weight", &[4], &Device::Cpu);
}

fn config(bytes: &[u8], scratch: &Path) {
    write(scratch, "config.json", bytes);
    if let Ok(config) = Config::from_hf(scratch) {
        let _ = config.parameters();
    }
}

const TOKENIZER: &[u8] = include_bytes!("../corpus/tokenizer/bpe.json");

fn tokenizer(bytes: &[u8], scratch: &Path) {
    write(scratch, "tokenizer.json", bytes);
    write(scratch, "tokenizer_config.json", include_bytes!("../corpus/tokenizer-config/chatml.json"));
    if let Ok(tokenizer) = Tokenizer::from_folder(scratch) {
        use_tokenizer(&tokenizer);
    }
}

fn tokenizer_config(bytes: &[u8], scratch: &Path) {
    write(scratch, "tokenizer.json", TOKENIZER);
    for name in
        ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"]
    {
        write(scratch, name, bytes);
        if let Ok(tokenizer) = Tokenizer::from_folder(scratch) {
            use_tokenizer(&tokenizer);
        }
        fs::remove_file(scratch.join(name)).ok();
    }
}

fn template(bytes: &[u8], scratch: &Path) {
    write(scratch, "tokenizer.json", TOKENIZER);
    write(scratch, "chat_template.jinja", bytes);
    if let Ok(tokenizer) = Tokenizer::from_folder(scratch) {
        let _ = tokenizer.render(&chat(), true);
        let _ = tokenizer.encode_chat(&chat());
    }
    fs::remove_file(scratch.join("chat_template.jinja")).ok();
}

fn adapter_config(bytes: &[u8], scratch: &Path) {
    write(scratch, "adapter_config.json", bytes);
    write(scratch, "adapter_model.safetensors", include_bytes!("../corpus/edit/lora.safetensors"));
    if let Some(folder) = scratch.to_str() {
        let _ = edit::read(folder);
    }
}

fn edit_file(bytes: &[u8], scratch: &Path) {
    write(scratch, "adapter_config.json", include_bytes!("../corpus/adapter-config/lora.json"));
    write(scratch, "adapter_model.safetensors", bytes);
    let alone = write(scratch, "edit.safetensors", bytes);
    for path in [scratch, &alone] {
        let _ = path.to_str().map(edit::read);
    }
    fs::remove_file(alone).ok();
}

fn pickle(bytes: &[u8], scratch: &Path) {
    let _ = edit::pickle::parse(bytes);
    let path = write(scratch, "vector.pt", bytes);
    let _ = path.to_str().map(edit::read);
}

fn jsonl(bytes: &[u8], scratch: &Path) {
    let path = write(scratch, "rows.jsonl", bytes);
    let _ = read_chats(&RowSource::File(path.clone()));
    let _ = strait::data::inspect(&RowSource::File(path.clone()));
    let _ = read_passages(&path, 10);
}

fn judged(bytes: &[u8], scratch: &Path) {
    let path = write(scratch, "judged.csv", bytes);
    if let Ok(answers) = read_judged(&RowSource::File(path)) {
        let _ = strait::data::general_pairs(&answers, 3);
    }
    let _ = read_scored(&RowSource::File(scratch.join("judged.csv")));
}

fn questions(bytes: &[u8], scratch: &Path) {
    let source = RowSource::File(write(scratch, "questions.yaml", bytes));
    if let Ok(prompts) = read_prompts(&source, Variants::Kept, &mut Notices::default()) {
        let judges = prompts.iter().flat_map(|prompt| &prompt.judges);
        judges.for_each(|judge| assert!(judge.about("{answer}", "?").len() > 1));
    }
    let _ = strait::judge::read_judge_prompts(&source);
}

fn parquet(bytes: &[u8], scratch: &Path) {
    let path = write(scratch, "passages.parquet", bytes);
    let _ = read_passages(&path, 10);
}

fn study(bytes: &[u8], scratch: &Path) {
    let path = scratch.join("study.toml");
    if let Ok(file) = StudyFile::parse(&path, String::from_utf8_lossy(bytes).into_owned())
        && let Ok(study) = file.resolve()
    {
        let _ = study.fix_layers(30).map(|study| study.to_toml());
    }
}

fn archive(bytes: &[u8], scratch: &Path) {
    let path = write(scratch, "rows.zip.enc", bytes);
    if let Ok(archive) = Archive::open(&path, "open sesame") {
        for member in archive.members() {
            let _ = archive.read(member);
        }
    }
}

/// The first byte says whether the rest is the state or the metrics of a training run.
fn checkpoint(bytes: &[u8], scratch: &Path) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    write(scratch, if which == b's' { "state.safetensors" } else { "metrics.jsonl" }, bytes);
    let folder = SolutionFolder::new(scratch);
    let _ = folder.is_finished("fingerprint");
    let _ = folder.history();
    let _ = folder.restore(&mut [], "fingerprint");
    let _ = folder.trajectory();
}

/// The first byte says in the place of which file of a run folder the rest stands.
fn run_state(bytes: &[u8], scratch: &Path) {
    const RUN: &[u8] = include_bytes!("../corpus/run-state/run");
    let Some((&which, bytes)) = bytes.split_first() else { return };
    write(scratch, "run.json", if which == b'r' { bytes } else { &RUN[1..] });
    if which != b'r' {
        write(scratch, "plan.json", bytes);
    }
    let _ = status(scratch);
    let _ = strait::study::write_report(scratch);
    fs::remove_file(scratch.join("plan.json")).ok();
}
