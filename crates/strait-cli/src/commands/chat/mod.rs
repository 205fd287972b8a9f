//! `strait chat M`.

mod chats;
mod screen;

use std::io::{self, BufRead, IsTerminal, Read, Write};

use clap::Args;
use serde::Serialize;
use strait_model::sample::Sampling;

use super::{Context, DateArgument, EditArguments, device::DeviceArgument, precision::PrecisionArgument};
use crate::{failure::Failure, interrupt, output};
use chats::{Answers, Chats};
use screen::Screen;

/// Talk to a model, with and without edits side by side
///
/// With edits every question is answered twice, by the base model and by the edited one, from the same seed; each keeps
/// its own conversation. Questions come from the terminal, or one a line from standard input. /reset begins a new
/// conversation, /quit ends. Ctrl-C stops an answer.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(value_name = "M")]
    model: String,
    #[command(flatten)]
    edits: EditArguments,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
    /// The system prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Divides the logits; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = Sampling::default().temperature, value_parser = temperature, allow_negative_numbers = true)]
    temperature: f64,
    /// Sample from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p, value_parser = top_p, allow_negative_numbers = true)]
    top_p: f64,
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = Sampling::default().max_tokens, value_parser = tokens)]
    max_tokens: usize,
    /// The seed of the first answer; each later answer takes the next seed
    #[arg(long, value_name = "S", default_value_t = Sampling::default().seed)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  strait chat smollm2-135m-instruct
  strait chat M --edit 'runs/technical/solutions/narrow*2' --temperature 0.7
  strait chat M --edit E --json < questions.txt | jq '.answers[] | {base, edited}'";

fn tokens(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|t: &f64| t.is_finite() && *t >= 0.0);
    number.ok_or_else(|| "expected a number of 0 or more".into())
}

fn top_p(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|p| *p > 0.0 && *p <= 1.0);
    number.ok_or_else(|| "expected a number above 0, at most 1".into())
}

impl Arguments {
    fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_tokens,
            seed: self.seed,
        }
    }
}

#[derive(Serialize)]
struct Conversation<'a> {
    model: &'a str,
    edits: &'a [String],
    answers: Vec<Answers>,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    let edit = arguments.edits.read(&model, context)?;
    let mut chats = Chats::new(&model, edit.as_ref(), arguments.system.as_deref(), arguments.sampling());
    let on_terminal = io::stdin().is_terminal();
    if on_terminal {
        context.progress.note("/reset begins a new conversation, /quit ends, Ctrl-C stops an answer");
    }
    let mut answers = Vec::new();
    while let Some(line) = next_line(on_terminal)? {
        match line.trim() {
            "" => {}
            "/quit" => break,
            "/reset" => chats.reset(),
            question => match answer(&mut chats, question, on_terminal) {
                Ok(answer) => answers.push(answer),
                // Whoever sits at the terminal can ask something else.
                Err(failure @ (Failure::Library(_) | Failure::Refused { .. })) if on_terminal => {
                    failure.mention()
                }
                Err(failure) => return Err(failure),
            },
        }
    }
    if output::is_json() {
        output::print_object(&Conversation {
            model: &arguments.model,
            edits: &arguments.edits.names,
            answers,
        })?;
    }
    Ok(())
}

/// The longest question, in bytes: longer than any context.
const LONGEST: u64 = 1 << 20;

/// The next line of standard input; none at its end.
fn next_line(prompt: bool) -> Result<Option<String>, Failure> {
    if prompt {
        write!(io::stderr(), "> ")?;
    }
    let mut line = String::new();
    let read = io::stdin().lock().take(LONGEST + 1).read_line(&mut line)?;
    if read as u64 > LONGEST {
        let message = format!("a line of standard input is longer than {LONGEST} bytes");
        return Err(Failure::refused(message, "ask one question a line, in UTF-8"));
    }
    if read == 0 && prompt {
        writeln!(io::stderr())?;
    }
    Ok((read > 0).then_some(line))
}

fn answer(chats: &mut Chats, question: &str, on_terminal: bool) -> Result<Answers, Failure> {
    let mut screen =
        if output::is_json() { Screen::dark() } else { Screen::on_standard_output(chats.names()) };
    // What is typed is seen on the terminal; a file of the conversation needs it too.
    if !(on_terminal && io::stdout().is_terminal()) {
        screen.question(question)?;
    }
    let _guard = on_terminal.then(|| interrupt::stop_first(|| ()));
    chats.ask(question, &mut screen)
}
