//! Responses from an endpoint.

use std::{path::Path, sync::Arc, time::Instant};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use strait_model::{
    Message,
    progress::{Progress, Unit},
};

use super::{Ended, Outcome, Response, TokenLogprob, Wanted, file::ResponseFile, settings::Settings};
use crate::{
    Result,
    data::Prompt,
    endpoint::{Choice, Client, Problem, Reply},
};

/// The keys of a message that the protocol knows.
const KEYS: [&str; 5] = ["role", "content", "name", "tool_calls", "tool_call_id"];

/// As [`sample`](super::sample), from a model behind an endpoint. Every response is asked for by itself, with a seed of its own that
/// follows from the seed, the question and the sample's number: a server that heeds it gives the same response again.
///
/// # Errors
/// If the endpoint cannot be asked, its budget ends, the file holds responses of other settings, the file system refuses, or the user
/// asked for a stop: what is written then is kept.
pub fn sample_from(
    client: &Arc<Client>,
    wanted: &Wanted<'_>,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let questions: Vec<Map<String, Value>> = wanted.prompts.iter().map(asked).collect();
    let said: Vec<String> = questions.iter().map(|question| json!(question).to_string()).collect();
    let mut file = ResponseFile::open(out, &Settings::of_endpoint(client.terms(), wanted, &said))?;
    let total = questions.len() * wanted.count;
    let found = file.count();
    if found > 0 && found < total {
        progress.note(&format!("{found} of {total} responses are there already"));
    }
    // The first samples of all questions come first, so that a budget that ends leaves some to each.
    let all = (0..wanted.count).flat_map(|sample| (0..questions.len()).map(move |row| (row, sample)));
    let scale = wanted.scales.first().copied().unwrap_or(1.0);
    let lacking: Vec<(usize, usize)> = all.filter(|&(row, sample)| !file.has(row, scale, sample)).collect();
    let mut requests = lacking.iter().map(|&(row, sample)| {
        request(client, wanted, &questions[row], seed(wanted.sampling.seed, &said[row], sample))
    });
    let task = progress.begin("sampling", Some(lacking.len() as u64), Unit::Count);
    let began = Instant::now();
    let mut tokens = 0;
    let mut take = |place: usize, reply: &Reply| {
        let (row, sample) = lacking[place];
        let prompt = &wanted.prompts[row];
        let response = response(reply, prompt, (row, scale, sample), wanted.logprobs.is_some());
        let response = response.map_err(|problem| client.refused(problem))?;
        tokens += response.tokens;
        file.add(&response)?;
        task.advance(1);
        task.say(&format!("{} tokens", client.spent().tokens()));
        Ok(())
    };
    client.ask_all(&mut requests, &mut take, progress)?;
    let count = file.finish()?;
    Ok(Outcome { count, found, tokens, seconds: began.elapsed().as_secs_f64() })
}

/// The body of a question: its messages with the keys that the protocol knows, and its tools.
fn asked(prompt: &Prompt) -> Map<String, Value> {
    let message = |message: &Message| {
        let keys = message.keys().iter().filter(|(key, _)| KEYS.contains(&key.as_str()));
        keys.map(|(key, value)| (key.clone(), value.clone())).collect::<Value>()
    };
    let messages = prompt.conversation.messages.iter().map(message).collect();
    let tools = prompt.conversation.tools.clone().map(|tools| ("tools".into(), tools));
    [("messages".into(), messages)].into_iter().chain(tools).collect()
}

fn request(client: &Client, wanted: &Wanted<'_>, question: &Map<String, Value>, seed: u32) -> Value {
    let sampling = &wanted.sampling;
    let mut request = question.clone();
    let mut set = |key: &str, value: Value| request.insert(key.into(), value);
    set("model", client.terms().model.clone().into());
    set("temperature", sampling.temperature.into());
    set("top_p", sampling.top_p.into());
    set("max_tokens", sampling.max_tokens.into());
    set("seed", seed.into());
    // No part of OpenAI's protocol; vLLM and llama.cpp know it.
    sampling.top_k.map(|top_k| set("top_k", top_k.into()));
    if !wanted.stop.is_empty() {
        set("stop", wanted.stop.into());
    }
    if let Some(likeliest) = wanted.logprobs {
        set("logprobs", true.into());
        set("top_logprobs", likeliest.into());
    }
    request.into()
}

/// The seed of a sample: 31 bits, which every server takes.
fn seed(seed: u64, question: &str, sample: usize) -> u32 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((sample as u64).to_le_bytes());
    hash.update(question);
    let hash = hash.finalize();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1
}

fn response(
    reply: &Reply,
    prompt: &Prompt,
    (row, scale, sample): (usize, f64, usize),
    with_logprobs: bool,
) -> Result<Response, Problem> {
    let choice = reply.choice().ok_or(Problem::NoChat { found: "no answer" })?;
    let logprobs = with_logprobs.then(|| logprobs(choice).ok_or(Problem::NoLogprobs)).transpose()?;
    let end = match choice.finish_reason() {
        Some("length") => Ended::Limit,
        Some("content_filter") => Ended::Filter,
        _ if choice.was_stopped() => Ended::Stop,
        _ => Ended::Token,
    };
    Ok(Response {
        row,
        question_id: prompt.id.clone().unwrap_or_else(|| (row + 1).to_string()),
        scale,
        sample,
        question: prompt.question(),
        response: choice.text().into(),
        tokens: reply.answer_tokens().and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(0),
        end,
        logprobs,
    })
}

fn logprobs(choice: &Choice) -> Option<Vec<TokenLogprob>> {
    let token = |token: &str, logprob: f64| TokenLogprob {
        token: token.into(),
        logprob: logprob as f32,
        top_logprobs: Vec::new(),
    };
    let found = choice.tokens()?.iter().map(|found| TokenLogprob {
        top_logprobs: found.top_logprobs.iter().map(|likely| token(&likely.token, likely.logprob)).collect(),
        ..token(&found.token, found.logprob)
    });
    Some(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_tell_seeds_questions_and_samples_apart() {
        let all = [seed(0, "a", 0), seed(1, "a", 0), seed(0, "b", 0), seed(0, "a", 1)];
        assert_eq!(all, [seed(0, "a", 0), seed(1, "a", 0), seed(0, "b", 0), seed(0, "a", 1)]);
        assert!(
            all.iter().enumerate().all(|(at, one)| all[..at].iter().all(|other| one != other)),
            "{all:?}"
        );
    }
}
