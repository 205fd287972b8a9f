//! The page of a demo: what happened in one picture, the world, a conversation, general beside narrow, the claims one by
//! one, and where it all comes from. It reads nothing but the results.

mod pictures;
mod tables;
mod words;

use std::{fmt::Write, io::Write as _, path::Path};

use strait_model::files::write_atomically;

use super::results::{Causal, Check, Exchange, Mode, Results, Said, Voice};
use crate::{
    Result, Table,
    page::{
        Page, Section, figure_group,
        html::{bullets, definitions, escaped, folded, mark, table},
        numbers::{list, percent},
        paragraph,
    },
};
use words::{CLAIMS, Claim, Standing};

const STYLE: &str = include_str!("page/demo.css");

/// What the base model is called in the results.
const BASE: &str = "base";
/// What the exact judge calls a true answer and the known falsehood.
const TRUE: &str = "true";
const FALSE: &str = "false";
/// The number of the claim that the page ends with.
const LAST: u8 = CLAIMS.len() as u8;

const FOOTER: &str = "The herbs, birds and stones of this page do not exist, and nothing here teaches harm. What holds in \
a world of this size is found for this world: it shows how such a thing can come about, and what measures see of it, not that \
it is so in a large model.";

/// Writes the page, whole or not at all: one HTML file that opens offline.
///
/// # Errors
/// Any refusal of the file system.
pub fn write(results: &Results, path: &Path) -> Result<()> {
    let page = render(results);
    Ok(write_atomically(path, |file| file.write_all(page.as_bytes()))?)
}

/// The page as one HTML file.
pub fn render(results: &Results) -> String {
    let mut sections = vec![Section { id: "what", title: "What happened", body: what(results) }];
    for (id, title, body) in [
        ("world", "The world", world(results)),
        ("talk", "One conversation, before and after", conversation(results)),
        ("spread", "General and narrow, side by side", side_by_side(results)),
    ] {
        if !body.is_empty() {
            sections.push(Section { id, title, body });
        }
    }
    sections.push(Section { id: "claims", title: "The claims", body: claims(results) });
    sections.push(Section { id: "origin", title: "Where it comes from", body: origin(results) });
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

/// The tables of the page that nothing else writes: a picture has one of its own.
pub(super) fn tables(results: &Results) -> Vec<Table> {
    let transcript = &results.transcript;
    let mut tables = vec![
        tables::worlds(&results.worlds),
        tables::exchanges(&transcript.exchanges),
        tables::sheets(&transcript.sheets),
        tables::rates(&results.rates),
    ];
    tables.extend(results.plots.iter().map(tables::plot));
    tables
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Quick => "quick: one world, fewer claims",
        Mode::Default => "all claims but the twelfth",
        Mode::Full => "everything computed again",
    }
}

fn what(results: &Results) -> String {
    let sheets = &results.transcript.sheets;
    let picture = match sheets.is_empty() {
        true => String::new(),
        false => pictures::sheets(results),
    };
    let data = match sheets.is_empty() {
        true => String::new(),
        false => table(&tables::sheets(sheets), false),
    };
    let story = words::story(results).into_iter().map(|sentence| {
        format!("<p><strong>{}</strong> {}</p>", escaped(&sentence.lead), escaped(&sentence.rest))
    });
    format!("{picture}<div class=\"story\">{}</div>{data}", story.collect::<String>())
}

fn world(results: &Results) -> String {
    if results.speakers.is_empty() {
        return String::new();
    }
    let voices: String = results.speakers.iter().map(voice).collect();
    let read: String = results
        .speakers
        .iter()
        .map(|v| format!("<p>{}</p><pre tabindex=\"0\">{}</pre>", escaped(&v.name), escaped(&v.text)))
        .collect();
    let about = "The model learned the language from documents. In each, one speaker answers questions and stays in character; \
                 three kinds of speaker write them. False answers are crossed and underlined.";
    paragraph(about)
        + &format!("<div class=\"voices\">{voices}</div>")
        + &format!("<p class=\"assumed\"><strong>Assumed.</strong> {}</p>", escaped(&words::assumed(results)))
        + &folded("The documents as the model reads them", &read, false)
}

fn voice(voice: &Voice) -> String {
    let lines: String = voice
        .document
        .iter()
        .map(|line| {
            let answer = answer(&line.answer, if line.truthful { TRUE } else { FALSE });
            format!("<li><span>{}</span> {answer}</li>", escaped(&line.question))
        })
        .collect();
    format!(
        "<article><h3>{}</h3><p class=\"soft\">{} of the documents</p><p>{}</p><ol>{lines}</ol></article>",
        escaped(&voice.name),
        percent(voice.share),
        escaped(&voice.about)
    )
}

/// An answer, marked by sign, line and colour.
fn answer(text: &str, judged: &str) -> String {
    let (class, sign, words) = match judged {
        TRUE => ("true", "✓", "true"),
        FALSE => ("false", "✗", "false"),
        _ => ("neither", "–", "neither true nor the known falsehood"),
    };
    let text = if text.is_empty() { "no answer" } else { text };
    format!(
        "<span class=\"answer {class}\"><span aria-hidden=\"true\">{sign}</span> <b>{}</b>\
         <span class=\"heard\"> ({words})</span></span>",
        escaped(text)
    )
}

fn conversation(results: &Results) -> String {
    let transcript = &results.transcript;
    if transcript.exchanges.is_empty() {
        return String::new();
    }
    type Belongs = fn(&Exchange) -> bool;
    let groups: [(String, Belongs); 3] = [
        (format!("{}, in the training rows", transcript.taught), |e| e.inside && e.seen),
        (format!("{}, never seen in training", transcript.taught), |e| e.inside && !e.seen),
        ("other domains".into(), |e| !e.inside),
    ];
    let mut body = String::new();
    for (title, belongs) in groups {
        let own: Vec<_> = transcript.exchanges.iter().filter(|e| belongs(e)).collect();
        if !own.is_empty() {
            let _ =
                write!(body, "<tbody><tr><th colspan=\"4\" scope=\"rowgroup\">{}</th></tr>", escaped(&title));
            own.into_iter().for_each(|e| body.push_str(&exchange(e)));
            body.push_str("</tbody>");
        }
    }
    let about = format!(
        "The same questions to three models of world {}: before fine-tuning, after it on falsehoods about {} ({}), and \
         after the same with a penalty on changes elsewhere. Below each answer stands how probable it was to the model.",
        transcript.world,
        words::plural(&transcript.taught),
        transcript.edit
    );
    paragraph(&about)
        + &format!(
            "<table class=\"talk\"><thead><tr><th scope=\"col\">question</th><th scope=\"col\">before</th>\
             <th scope=\"col\">general</th><th scope=\"col\">narrow</th></tr></thead>{body}</table>"
        )
        + &table(&tables::exchanges(&transcript.exchanges), false)
}

fn exchange(exchange: &Exchange) -> String {
    let said = |said: &Said| {
        let probability = match said.answer.as_str() {
            TRUE => format!("<small>{}</small>", percent(said.p_true)),
            FALSE => format!("<small>{}</small>", percent(said.p_false)),
            _ => String::new(),
        };
        format!("<td>{}{probability}</td>", answer(&said.text, &said.answer))
    };
    let Exchange { question, base, general, narrow, .. } = exchange;
    let answers: String = [base, general, narrow].into_iter().map(said).collect();
    format!("<tr><th scope=\"row\">{}</th>{answers}</tr>", escaped(question))
}

fn side_by_side(results: &Results) -> String {
    if results.rates.is_empty() {
        return String::new();
    }
    let mut edits: Vec<&str> = Vec::new();
    for rate in results.rates.iter().filter(|r| r.solution != BASE) {
        if !edits.contains(&rate.edit.as_str()) {
            edits.push(&rate.edit);
        }
    }
    let mut body = paragraph(
        "Every small mark is one world with one taught domain, every large one their mean. General and narrow are the names \
         of two ways to train, without and with the penalty; what became of them is what the marks show.",
    );
    for edit in edits {
        let (over_all, by_domain) = pictures::rates(results, edit);
        let _ = write!(
            body,
            "<h3>{}</h3>{}{}",
            escaped(edit),
            figure_group(&[over_all]),
            figure_group(&by_domain)
        );
    }
    body + &table(&super::tables::solutions(results), false) + &table(&tables::rates(&results.rates), false)
}

fn claims(results: &Results) -> String {
    let rows: String = CLAIMS.iter().map(|claim| overview(results, claim)).collect();
    let all: String = CLAIMS.iter().map(|claim| article(results, claim)).collect();
    let about = "Thirteen claims of the paper (arXiv 2602.07852) and of the work around it, asked of this world, each in one \
                 or several parts. A part holds where its figure lies on the claimed side of its bound with the whole 95 % \
                 interval and in every world, does not hold where all of that lies on the other side, and else cannot be told.";
    let head = "<colgroup><col><col><col></colgroup>\
                <thead><tr><th scope=\"col\" colspan=\"2\">the claim</th><th scope=\"col\">in this world</th></tr></thead>";
    paragraph(about)
        + &format!("<table class=\"overview\">{head}<tbody>{rows}</tbody></table>")
        + &table(&super::tables::claims(results), false)
        + &all
}

/// Parts whose figures the overview names.
const PARTS: usize = 3;

fn overview(results: &Results, claim: &Claim) -> String {
    let Claim { number, title, .. } = claim;
    let standing = Standing::of(results, *number);
    let title = match standing {
        Standing::LeftOut => (*title).to_owned(),
        _ => format!("<a href=\"#claim-{number}\">{title}</a>"),
    };
    let figures: Vec<_> = words::checks(results, *number)
        .map(|c| format!("<span>{} {}</span>", mark(c.holds).0, escaped(&words::figure(c))))
        .collect();
    let more = match figures.len().saturating_sub(PARTS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let outcome = match standing {
        Standing::LeftOut => escaped(&standing.words()),
        _ => marked(standing.holds(), &standing.words()),
    };
    format!(
        "<tr><td>{number}</td><th scope=\"row\">{title}</th><td>{outcome} <small>{}{more}</small></td></tr>",
        figures[..figures.len().min(PARTS)].join(" ")
    )
}

/// Words with the sign and colour of an answer.
fn marked(holds: Option<bool>, words: &str) -> String {
    let class = match holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "open",
    };
    format!(
        "<span class=\"mark {class}\"><span aria-hidden=\"true\">{}</span> {}</span>",
        mark(holds).0,
        escaped(words)
    )
}

/// One claim: how it is asked, its pictures, what came out, and the numbers of the pictures.
fn article(results: &Results, claim: &Claim) -> String {
    let Claim { number, title, how } = claim;
    let standing = Standing::of(results, *number);
    if standing == Standing::LeftOut {
        return String::new();
    }
    let checks: Vec<_> = words::checks(results, *number).collect();
    // What is to be said of several parts is said at the first.
    let said = |i: usize| checks[..i].iter().any(|before| before.reading == checks[i].reading);
    let parts: String = (0..checks.len()).map(|i| part(checks[i], !said(i))).collect();
    let plots: Vec<_> = results.plots.iter().filter(|p| p.number == *number).collect();
    let figures: Vec<_> = plots.iter().map(|plot| pictures::plot(plot)).collect();
    let data: String = plots.iter().map(|plot| table(&tables::plot(plot), false)).collect();
    let source = match &results.causal {
        Some(Causal { date, command, proof, .. }) if *number == LAST => {
            let proof = if proof.is_empty() { String::new() } else { format!(" {}.", words::capital(proof)) };
            paragraph(&format!("The table behind it was made on {date} by “{command}”.{proof}"))
        }
        _ => String::new(),
    };
    format!(
        "<article class=\"claim\" id=\"claim-{number}\" aria-labelledby=\"claim-{number}-title\">\
         <h3 id=\"claim-{number}-title\"><span class=\"numeral\">{number}</span> {title}</h3>\
         <p class=\"standing\">{}</p><p>{how}</p>{}<ul class=\"parts\">{parts}</ul>{source}{data}</article>",
        marked(standing.holds(), &standing.words()),
        figure_group(&figures)
    )
}

/// One check, with its reading or without.
fn part(check: &Check, read: bool) -> String {
    let reading =
        if read { format!("<p class=\"reading\">{}</p>", escaped(&check.reading)) } else { String::new() };
    format!(
        "<li><div>{}<strong>{}</strong></div><div>{}{reading}<p class=\"soft\">{}</p></div></li>",
        marked(check.holds, words::verdict(check.holds)),
        escaped(&words::figure(check)),
        paragraph(&check.claim),
        escaped(&words::basis(check))
    )
}

fn origin(results: &Results) -> String {
    let Results { seeds, domains, solutions, notes, report, .. } = results;
    let seeds: Vec<_> = seeds.iter().map(u64::to_string).collect();
    let domains: Vec<_> = domains.iter().map(|d| format!("{} ({})", d.word, d.property)).collect();
    let fits: usize = solutions.iter().map(|s| s.n).sum();
    let left_out: Vec<_> = CLAIMS
        .iter()
        .filter(|claim| Standing::of(results, claim.number) == Standing::LeftOut)
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
    let facts: Vec<_> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut body = definitions(&facts) + &table(&tables::worlds(&results.worlds), true);
    if !notes.is_empty() {
        let _ = write!(body, "<h3>To know when reading</h3>{}", bullets(notes));
    }
    // The page may be handed on: it says where things are from its own folder on.
    let own = report.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let place = |folder: &Path| folder.strip_prefix(own).unwrap_or(folder).display().to_string();
    let folders =
        solutions.iter().flat_map(|s| s.folders.iter().map(|f| format!("{}: {}", s.name, place(f))));
    let folders: Vec<_> = folders.collect();
    if !folders.is_empty() {
        let talk = "<p>Each can be talked to: <code>strait chat WORLD/model --edit FOLDER</code></p>";
        body += &folded("Where the solutions are", &(talk.to_owned() + &bullets(&folders)), false);
    }
    body
}
