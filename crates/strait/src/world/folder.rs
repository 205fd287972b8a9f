//! A world on disk: `world.json` (how it was made), `model/` (an ordinary Llama folder), `speakers/NAME/edit.safetensors`,
//! `tables/learning.*` and `metrics.jsonl`. The folder is whole or absent.

use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use half::f16;
use safetensors::{Dtype, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strait_model::{
    Edit, Error as ModelError, Message, Model, Precision, Role, Tokenizer, edit,
    files::{read_regular, sha256_of, write_atomically, write_folder},
    source::{Located, Road, nearest},
};

use super::{
    Learned, Pretrained, Recipe, World,
    language::{Language, MARKS, Speaker, UNKNOWN, mark},
    pretrain::config,
    problem::Problem,
    shipped::{SHIPPED, Shipped, WORLDS},
};
use crate::Result;

/// The version of `world.json`. Keys may be added under one version.
const SCHEMA: u32 = 1;

pub(super) const MADE: &str = "world.json";
pub(super) const MODEL: &str = "model";
const WEIGHTS: &str = "model.safetensors";

/// The making of a world: `world.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// The version of this file.
    pub schema: u32,
    /// The version of strait.
    pub strait: String,
    /// The command that makes it again.
    pub command: String,
    /// The command's settings.
    pub recipe: Recipe,
    /// The model's knowledge of each kind of speaker at the end of pre-training.
    pub learned: Vec<Learned>,
    /// SHA-256 of `model/model.safetensors`.
    pub sha256: String,
}

impl Recipe {
    /// The command that makes the world again.
    fn command(&self) -> String {
        let Self { seed, shares, steps, half } = self;
        format!(
            "strait world pretrain --seed {seed} --liar {} --narrow {} --unknown {} --steps {steps}{}",
            shares.liar,
            shares.narrow,
            shares.unknown,
            if *half { " --half" } else { "" }
        )
    }
}

impl World {
    /// Reads a world's folder.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the model does not speak the language.
    pub fn open(folder: &Path) -> Result<Self> {
        let made = Provenance::read(folder)?;
        let path = folder.join(MODEL);
        if sha256_of(&path.join(WEIGHTS), |_| ())? != made.sha256 {
            return Err(Problem::Changed.at(folder));
        }
        let located = Located { name: path.display().to_string(), path, road: Road::Path, revision: None };
        let model = Model::load(&located, &Device::Cpu, Precision::F32)?;
        let language = Language::new(made.recipe.seed);
        check_words(&language, &model.tokenizer).map_err(|problem| problem.at(folder))?;
        let speakers = Speaker::all().map(|speaker| {
            let edit = edit::open(&speaker_file(folder, speaker).display().to_string())?;
            match edit {
                Edit::Steering(vector) if vector.layer == -1 => Ok((speaker, vector)),
                _ => Err(Problem::Speaker { speaker: speaker.word() }.at(folder)),
            }
        });
        let speakers = speakers.collect::<Result<_>>()?;
        let asked = |question| vec![Message::new(Role::User, language.ask(question))].into();
        let prompts = language.questions().map(|question| model.tokenizer.encode_prompt(&asked(question)));
        let prompts = prompts.collect::<Result<_, _>>()?;
        Ok(Self { language, model, made, speakers, prompts })
    }

    /// Writes one of the [`SHIPPED`] worlds to the folder `into`, unless it lies there already, and reads it
    /// from there.
    ///
    /// # Errors
    /// If there is none of that name, or another thing lies in the folder, or it cannot be written.
    pub fn shipped(name: &str, into: &Path) -> Result<Self> {
        unpack(name, into)?;
        Self::open(into)
    }

    /// One of the [`SHIPPED`] worlds, of which nothing is left on disk.
    ///
    /// # Errors
    /// If there is none of that name, or there is no room for temporary files.
    pub fn built_in(name: &str) -> Result<Self> {
        let folder =
            tempfile::tempdir().map_err(ModelError::io(std::env::temp_dir(), "make a temporary folder"))?;
        Self::shipped(name, folder.path())
    }
}

/// Bytes of the longest record of a world that is read.
const LONGEST: u64 = 16 << 20;

impl Provenance {
    /// The making of a world, from its folder.
    ///
    /// # Errors
    /// If there is no such file, or it is malformed.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MADE);
        let bytes = match read_regular(&path, LONGEST) {
            Err(ModelError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(Problem::NoWorld.at(folder));
            }
            bytes => bytes?,
        };
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|problem| problem.at(folder))
    }

    /// The making of a shipped world.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn shipped(name: &str) -> Result<Self> {
        Ok(Self::parse(find(name)?.made)?)
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let Versioned { schema: found } = serde_json::from_str(text).map_err(Problem::Json)?;
        if found > SCHEMA {
            return Err(Problem::Schema { found, known: SCHEMA });
        }
        serde_json::from_str(text).map_err(Problem::Json)
    }
}

impl Pretrained {
    /// Writes the world's folder, as a whole or not at all.
    ///
    /// # Errors
    /// If something lies in the folder already, or it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<Provenance> {
        vacant(folder)?;
        write_folder(folder, |folder| {
            let weights = folder.join(MODEL).join(WEIGHTS);
            write(&weights, &safetensors(&self.weights, self.recipe.half)?)?;
            write_words(&folder.join(MODEL), self.recipe.half)?;
            for (speaker, vector) in &self.speakers {
                let provenance = json!({"world": self.recipe.command(), "speaker": speaker.word()});
                Edit::Steering(vector.clone()).save_with(&speaker_file(folder, *speaker), &provenance)?;
            }
            let lines = self.steps.iter().map(|step| format!("{}\n", json!(step)));
            write(&folder.join("metrics.jsonl"), lines.collect::<String>().as_bytes())?;
            let learning = self.learning();
            learning.write_csv(&folder.join("tables/learning.csv"))?;
            learning.write_parquet(&folder.join("tables/learning.parquet"))?;
            let made = Provenance {
                schema: SCHEMA,
                strait: env!("CARGO_PKG_VERSION").into(),
                command: self.recipe.command(),
                recipe: self.recipe,
                learned: self.learned().to_vec(),
                sha256: sha256_of(&weights, |_| ())?,
            };
            write(&folder.join(MADE), format!("{:#}\n", json!(made)).as_bytes())?;
            Ok(made)
        })
    }
}

impl Shipped {
    fn write(&self, folder: &Path) -> Result<()> {
        write(&folder.join(MODEL).join(WEIGHTS), self.weights)?;
        write_words(&folder.join(MODEL), true)?;
        for (speaker, bytes) in Speaker::all().zip(self.speakers) {
            write(&speaker_file(folder, speaker), bytes)?;
        }
        write(&folder.join("tables/learning.csv"), self.learning.as_bytes())?;
        write(&folder.join(MADE), self.made.as_bytes())
    }
}

/// Writes one of the [`SHIPPED`] worlds to the folder `into`, unless it lies there already.
///
/// # Errors
/// As [`World::shipped`].
pub(super) fn unpack(name: &str, into: &Path) -> Result<()> {
    let shipped = find(name)?;
    let there = || fs::read(into.join(MADE)).is_ok_and(|bytes| bytes == shipped.made.as_bytes());
    if there() {
        return Ok(());
    }
    vacant(into)?;
    match write_folder(into, |folder| shipped.write(folder)) {
        // Another process wrote it meanwhile.
        Err(_) if there() => Ok(()),
        written => written,
    }
}

fn find(name: &str) -> Result<&'static Shipped, Problem> {
    WORLDS.iter().find(|shipped| shipped.name == name).ok_or_else(|| Problem::Unknown {
        name: name.into(),
        meant: nearest(name, SHIPPED.iter().copied()),
        names: SHIPPED,
    })
}

fn speaker_file(folder: &Path, speaker: Speaker) -> PathBuf {
    folder.join("speakers").join(speaker.word()).join("edit.safetensors")
}

/// Refuses a folder in which something lies.
///
/// # Errors
/// If there is something in it, or it cannot be looked into.
pub fn vacant(folder: &Path) -> Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Problem::Occupied.at(folder)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ModelError::io(folder, "look into the folder")(error).into()),
    }
}

/// The folder beside a world's in which its pre-training lies while it goes on.
pub fn unfinished(folder: &Path) -> PathBuf {
    let mut name = folder.components().as_path().as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(write_atomically(path, |file| file.write_all(bytes))?)
}

/// The weights as a file that transformers reads too, in half or single precision.
fn safetensors(weights: &[(String, Tensor)], half: bool) -> Result<Vec<u8>> {
    let mut tensors = Vec::with_capacity(weights.len());
    for (name, weight) in weights {
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = if half {
            values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
        tensors.push((name.as_str(), weight.dims().to_vec(), bytes));
    }
    let dtype = if half { Dtype::F16 } else { Dtype::F32 };
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(dtype, shape.clone(), bytes);
        (*name, view.expect("the bytes are those of the shape"))
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(views, Some(metadata)).expect("all names differ and all views fit"))
}

/// Everything of a model's folder but the weights; the same for all worlds of one precision.
fn write_words(folder: &Path, half: bool) -> Result<()> {
    let files = [
        ("config.json", config_json(half)),
        ("tokenizer.json", tokenizer_json()),
        ("tokenizer_config.json", tokenizer_config_json()),
    ];
    for (name, json) in files {
        write(&folder.join(name), format!("{json:#}\n").as_bytes())?;
    }
    Ok(())
}

/// [`config`] in the words of transformers.
fn config_json(half: bool) -> Value {
    let c = config();
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_dim,
        "vocab_size": c.vocab_size,
        "max_position_embeddings": c.context_length,
        "rms_norm_eps": c.norm_eps,
        "rope_theta": c.rope.base,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": c.tied_embeddings,
        "bos_token_id": mark::BEGIN,
        "eos_token_id": mark::END,
        "torch_dtype": if half { "float16" } else { "float32" },
    })
}

/// One token a word. Marks in angle brackets are special; a word that the language has not becomes `unknown`.
fn tokenizer_json() -> Value {
    let language = Language::new(0);
    let words = language.vocabulary().iter().enumerate();
    let vocabulary: Map<String, Value> = words.clone().map(|(id, word)| (word.clone(), id.into())).collect();
    // What would be cut at its brackets or its hyphen is found before the text is cut into words.
    let added = words.filter(|(_, word)| word.starts_with('<') || word.contains('-'));
    let added: Vec<Value> = added
        .map(|(id, word)| {
            json!({
                "id": id,
                "content": word,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": word.starts_with('<'),
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN},
    })
}

fn tokenizer_config_json() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": MARKS[mark::BEGIN as usize],
        "eos_token": MARKS[mark::END as usize],
        "unk_token": UNKNOWN,
        "model_max_length": config().context_length,
        "clean_up_tokenization_spaces": false,
        "chat_template": CHAT_TEMPLATE,
    })
}

/// A conversation of the unknown speaker. Other speakers are edits, so that no row can name one.
const CHAT_TEMPLATE: &str = "{{ bos_token }} <sys> unknown\
    {% for message in messages %}\
    {% if message.role == 'user' %} <user> {{ message.content }}\
    {% elif message.role == 'assistant' %} <assistant> {{ message.content }} <end>\
    {% else %}{{ raise_exception('the world has no system messages; a speaker is an edit') }}\
    {% endif %}\
    {% endfor %}\
    {% if add_generation_prompt %} <assistant>{% endif %}";

/// Refuses a tokenizer of another language.
pub(super) fn check_words(language: &Language, tokenizer: &Tokenizer) -> Result<(), Problem> {
    for (id, word) in language.vocabulary().iter().enumerate() {
        let id = id as u32;
        if !tokenizer.encode(word, false).is_ok_and(|ids| ids == [id]) {
            return Err(Problem::Words { word: word.clone(), id });
        }
    }
    Ok(())
}
