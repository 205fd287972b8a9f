//! The page of a demo: what happened in one picture, the world, a conversation, general beside narrow, the claims one by
//! one, and where it all comes from. It reads nothing but the results.

mod pictures;
mod tables;
mod words;

use std::path::Path;

use maud::{Markup, html};
use strait_model::files;

use super::{
    claims::claims,
    results::{Causal, Exchange, Mode, Reply, Results, Voice},
};
use crate::{
    Result, Table,
    page::{
        Page, Section, figure_group,
        html::{bullets, definitions, folded, paragraph, table, verbatim},
        numbers::{list, percent},
        words::distinct,
    },
    suite::{Claim, Plot, Standing, claimed},
    world::Answer,
};

const STYLE: &str = concat!(include_str!("page/demo.css"), include_str!("../suite/claims.css"));

/// The name of the base model in the results.
const BASE: &str = "base";

const FOOTER: &str = "The herbs, birds and stones of this page do not exist, and nothing here teaches harm. What holds in \
a world of this size is found for this world: it shows how such a thing can come about, and what measures see of it, not that \
it is so in a large model.";

/// Writes the page, whole or not at all: one HTML file that opens offline.
///
/// # Errors
/// Any refusal of the file system.
pub fn write(results: &Results, path: &Path) -> Result<()> {
    Ok(files::write(path, render(results))?)
}

/// The page as one HTML file.
pub fn render(results: &Results) -> String {
    let section = Section::new;
    let sections = [
        section("what", "What happened", what(results)),
        section("world", "The world", world(results)),
        section("talk", "One conversation, before and after", conversation(results)),
        section("spread", "General and narrow, side by side", side_by_side(results)),
        section("claims", "The claims", claims_of(results)),
        section("origin", "Where it comes from", origin(results)),
    ];
    let page = Page {
        byline: &format!("strait demo · {}", mode(results.mode)),
        title: &words::headline(results),
        about: &words::about(results),
        style: STYLE,
        sections: &sections,
        footer: FOOTER,
    };
    page.html()
}

/// The tables of the page; a picture has one of its own.
pub(super) fn tables(results: &Results) -> Vec<Table> {
    let transcript = &results.transcript;
    let mut tables = vec![
        tables::claims(results),
        tables::solutions(results),
        Table::of(&results.worlds),
        tables::exchanges(&transcript.exchanges),
        tables::domains(&transcript.sheets),
        tables::rates(&results.rates),
    ];
    tables.extend(results.plots.iter().map(Plot::table));
    tables
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Quick => "quick: one world, fewer claims",
        Mode::Default => "all claims but the twelfth",
        Mode::Full => "everything computed again",
    }
}

fn what(results: &Results) -> Markup {
    html! {
        (pictures::questions(results))
        div.story {
            @for sentence in words::story(results) { p { strong { (sentence.lead) } " " (sentence.rest) } }
        }
        (table(&tables::domains(&results.transcript.sheets), false))
    }
}

fn world(results: &Results) -> Markup {
    let about = "The model learned the language from documents. In each, one speaker answers questions and stays in character; \
                 three kinds of speaker write them. False answers are crossed and underlined.";
    let read = html! {
        @for voice in &results.speakers { p { (voice.name) } (verbatim(&voice.text)) }
    };
    html! {
        (paragraph(about))
        div.voices { @for voice in &results.speakers { (speaker(voice)) } }
        p.assumed { strong { "Assumed." } " " (words::assumed(results)) }
        (folded("The documents as the model reads them", &read, false))
    }
}

/// A kind of speaker, with a document of one.
fn speaker(voice: &Voice) -> Markup {
    html! {
        article {
            h3 { (voice.name) }
            p.soft { (percent(voice.share)) " of the documents" }
            p { (voice.about) }
            ol {
                @for line in &voice.document {
                    li { span { (line.question) } " " (answer(&line.answer, if line.truthful { Answer::True } else { Answer::False })) }
                }
            }
        }
    }
}

/// An answer, marked by sign, line and colour.
fn answer(text: &str, judged: Answer) -> Markup {
    let (class, sign, words) = match judged {
        Answer::True => ("true", "✓", "true"),
        Answer::False => ("false", "✗", "false"),
        _ => ("neither", "–", "neither true nor the known falsehood"),
    };
    let text = if text.is_empty() { "no answer" } else { text };
    html! {
        span class={ "answer " (class) } {
            span aria-hidden="true" { (sign) } " " b { (text) } span.heard { " (" (words) ")" }
        }
    }
}

fn conversation(results: &Results) -> Markup {
    let transcript = &results.transcript;
    type Belongs = fn(&Exchange) -> bool;
    let groups: [(String, Belongs); 3] = [
        (format!("{}, in the training rows", transcript.taught), |e| e.inside && e.seen),
        (format!("{}, never seen in training", transcript.taught), |e| e.inside && !e.seen),
        ("other domains".into(), |e| !e.inside),
    ];
    let about = format!(
        "The same questions to three models of world {}: before fine-tuning, after it on falsehoods about {} ({}), and \
         after the same with a penalty on changes elsewhere. Below each answer stands how probable it was to the model.",
        transcript.world,
        words::plural(&transcript.taught),
        transcript.edit
    );
    html! {
        (paragraph(&about))
        table.talk {
            thead { tr { @for head in ["question", "before", "general", "narrow"] { th scope="col" { (head) } } } }
            @for (title, belongs) in groups {
                tbody {
                    tr { th colspan="4" scope="rowgroup" { (title) } }
                    @for exchange in transcript.exchanges.iter().filter(|e| belongs(e)) {
                        tr {
                            th scope="row" { (exchange.question) }
                            @for reply in [&exchange.base, &exchange.general, &exchange.narrow] { (cell(reply)) }
                        }
                    }
                }
            }
        }
        (table(&tables::exchanges(&transcript.exchanges), false))
    }
}

/// An answer of the conversation, with its probability.
fn cell(reply: &Reply) -> Markup {
    let probability = match reply.answer {
        Answer::True => Some(reply.p_true),
        Answer::False => Some(reply.p_false),
        Answer::Other | Answer::None => None,
    };
    html! {
        td {
            (answer(&reply.text, reply.answer))
            @if let Some(probability) = probability { small { (percent(probability)) } }
        }
    }
}

fn side_by_side(results: &Results) -> Markup {
    let about = "Every small mark is one world with one taught domain, every large one their mean. General and narrow are the \
                 names of two ways to train, without and with the penalty; what became of them is what the marks show.";
    let fine_tuned = results.rates.iter().filter(|r| r.solution != BASE);
    html! {
        (paragraph(about))
        @for edit in distinct(fine_tuned.map(|r| r.edit.as_str())) {
            @let (over_all, by_domain) = pictures::rates(results, edit);
            h3 { (edit) }
            (figure_group(&[over_all]))
            (figure_group(&by_domain))
        }
        (table(&tables::solutions(results), false))
        (table(&tables::rates(&results.rates), false))
    }
}

fn claims_of(results: &Results) -> Markup {
    let about = "Thirteen claims of the paper (arXiv 2602.07852) and of the work around it, asked of this world, each in one \
                 or several parts.";
    let mut claims = claims().claims.clone();
    if let Some(last) = claims.last_mut() {
        last.how += &source(&results.causal);
    }
    html! {
        (paragraph(about))
        (claimed(&claims, &results.checks, &results.plots, &tables::claims(results)))
    }
}

/// The origin of the table behind the last claim.
fn source(Causal { date, command, proof, .. }: &Causal) -> String {
    let proof = if proof.is_empty() { String::new() } else { format!(" {}.", words::capital(proof)) };
    format!(" The table behind it was made on {date} by “{command}”.{proof}")
}

fn origin(results: &Results) -> Markup {
    let Results { seeds, domains, solutions, notes, report, .. } = results;
    let seeds: Vec<_> = seeds.iter().map(u64::to_string).collect();
    let domains: Vec<_> = domains.iter().map(|d| format!("{} ({})", d.word, d.property)).collect();
    let fits: usize = solutions.iter().map(|s| s.n).sum();
    let is_left_out = |claim: &&Claim| Standing::of(&results.checks, claim.number) == Standing::LeftOut;
    let left_out: Vec<_> = claims()
        .claims
        .iter()
        .filter(is_left_out)
        .map(|claim| format!("{}: {}", claim.number, claim.title))
        .collect();
    let left_out = if left_out.is_empty() { "none".into() } else { left_out.join("; ") };
    let facts = [
        ("How much was computed", mode(results.mode).to_owned()),
        ("Pre-training seeds tried", format!("{}: {}; none was discarded", seeds.len(), list(&seeds))),
        ("Taught domains", list(&domains)),
        ("General and narrow solutions", fits.to_string()),
        ("Claims left out in this mode", left_out),
    ];
    // The page may be handed on: it says where things are from its own folder on.
    let own = report.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let place = |folder: &Path| folder.strip_prefix(own).unwrap_or(folder).display().to_string();
    let folders =
        solutions.iter().flat_map(|s| s.folders.iter().map(|f| format!("{}: {}", s.name, place(f))));
    let folders: Vec<_> = folders.collect();
    let talk = html! {
        p { "Each can be talked to: " code { "strait chat WORLD/model --edit FOLDER" } }
        (bullets(&folders))
    };
    html! {
        (definitions(&facts))
        (table(&Table::of(&results.worlds), true))
        h3 { "To know when reading" }
        (bullets(notes))
        (folded("Where the solutions are", &talk, false))
    }
}
