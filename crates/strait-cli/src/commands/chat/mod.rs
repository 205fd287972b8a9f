//! `strait chat M`.

mod chats;
mod screen;

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::PathBuf,
};

use clap::Args;
use serde::Serialize;
use strait_model::sample::Sampling;

use super::{
    Context, DateArgument, EditArguments, device::DeviceArgument, precision::PrecisionArgument,
    sampling::SamplingArguments,
};
use crate::{failure::Failure, interrupt, output};
use chats::{Answers, Chats};
use screen::Screen;

/// Talk to a model, with and without edits side by side
///
/// With edits every question is answered twice, by the base model and by the edited one, from the same seed; each keeps
/// its own conversation. Questions come from the terminal, or one a line from standard input. /reset begins a new
/// conversation, /quit ends. Ctrl-C stops an answer. With a monitor, tokens of high reading are coloured where standard output is a
/// terminal, and a line after each answer has its reading and says whether it is an alarm.
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
    /// A monitor that reads the answers: a folder that `strait monitor calibrate` wrote
    #[arg(long, value_name = "DIR")]
    monitor: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// The seed of the first answer; each later answer takes the next seed
    #[arg(long, value_name = "S", default_value_t = Sampling::default().seed)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  strait chat smollm2-135m-instruct
  strait chat M --edit 'runs/technical/solutions/narrow*2' --temperature 0.7
  strait chat M --edit E --monitor watch
  strait chat M --edit E --json < questions.txt | jq '.answers[] | {base, edited}'";

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
    let monitor = arguments.monitor.as_ref().map(|folder| strait::monitor::open(folder)).transpose()?;
    let mut chats = Chats::new(
        &model,
        edit.as_ref(),
        arguments.system.as_deref(),
        arguments.sampling.with_seed(arguments.seed),
        monitor.as_ref(),
    )?;
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
    let mut screen = if output::is_json() {
        Screen::dark()
    } else {
        Screen::on_standard_output(chats.names(), chats.is_watched())
    };
    // What is typed is seen on the terminal; a file of the conversation needs it too.
    if !(on_terminal && io::stdout().is_terminal()) {
        screen.question(question)?;
    }
    let _guard = on_terminal.then(|| interrupt::stop_first(|| ()));
    chats.ask(question, &mut screen)
}
