//! Tokens a second of many answers to one question on SmolLM2, and of a single one.
//!
//! `STRAIT_MODELS=DIR RAYON_NUM_THREADS=2 cargo bench -p strait-model --bench sample`, with `smollm2.gguf` in DIR. ANSWERS (default
//! 50) is the number of answers, TOKENS (default 128) the most tokens of one.

use std::{path::Path, time::Instant};

use candle_core::Device;
use strait_model::{
    Message, Model, Role,
    sample::{Sampling, sample},
    source::{Located, Road},
};

const QUESTION: &str = "Tell me in detail how a lighthouse works, from its lamp to its keeper.";

fn main() {
    let Some(models) = std::env::var_os("STRAIT_MODELS") else {
        println!("skipped: STRAIT_MODELS is not set");
        return;
    };
    let number = |name: &str, default| {
        std::env::var(name).ok().map_or(default, |text| text.parse::<usize>().expect("a number"))
    };
    let path = Path::new(&models).join("smollm2.gguf");
    let located = Located { name: "smollm2".into(), path, road: Road::Path, revision: None };
    let model = Model::load(&located, &Device::Cpu).expect("the model loads");
    let messages = vec![Message::new(Role::User, QUESTION)];
    let prompt = model.tokenizer.encode_prompt(&messages.as_slice().into()).expect("a prompt");
    let threads = rayon::current_num_threads();
    let sampling = Sampling { max_tokens: number("TOKENS", 128), ..Sampling::default() };
    println!("prompt of {} tokens; {threads} threads", prompt.len());
    for answers in [1, number("ANSWERS", 50)] {
        let began = Instant::now();
        let drawn = sample(&model, &prompt, None, answers, &sampling, |_, _| true).expect("answers");
        let seconds = began.elapsed().as_secs_f64();
        let tokens: usize = drawn.iter().map(|answer| answer.ids.len()).sum();
        println!(
            "{answers} answers, {tokens} tokens: {seconds:.1} s, {:.1} tokens/s",
            tokens as f64 / seconds
        );
    }
}
