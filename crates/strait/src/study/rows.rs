//! The rows of a study, read from its files: what is trained on, what is measured on, and what is left out of it.

use std::{collections::BTreeMap, sync::Arc};

use strait_model::{Message, Model, Role, progress::Progress};

use super::{PairSource, Problem, Rows, Solution, Study};
use crate::{
    Result,
    data::{
        Chat, LeftOut, Notices, Pair, Passage, Prompt, RowSource, TrainedOn, Variants, choose, judged, pairs,
        questions, read_chats_noting, read_passages, read_prompts, split,
    },
    interval::clusters,
    lab::{Group, Lab, PairRows, evenly},
    measure::{PlainText, QuestionFiles, TextSource},
    objective::Row,
};

/// The findings of the reading of rows, besides the rows.
#[derive(Clone, Default)]
pub(super) struct Readout {
    /// The sets that solutions train on where these are not simply the training rows, in the order of the laboratory's mixtures.
    /// Beside each the number of those that come before the mixed-in ones.
    pub mixed: Vec<(Mixture, usize)>,
    /// The files of single solutions' KL rows, in the order of the laboratory's.
    pub own_kl: Vec<Vec<Rows>>,
    /// Different questions of the training rows and of the held-out rows.
    pub questions: [usize; 2],
    /// The pairs left out of the measures, since solutions are trained on them.
    pub left_out: Vec<LeftOut>,
    /// Notices of what readers of the rows did not use.
    pub notices: Notices,
    /// Notes on the rows, for the user.
    pub said: Vec<String>,
}

/// The training rows, or a solution's own, after a system prompt, with others behind them.
#[derive(Clone, PartialEq)]
pub(super) struct Mixture {
    own: Option<Vec<Rows>>,
    system: Option<String>,
    rows: Vec<Rows>,
}

impl Mixture {
    /// The set that a solution trains on; none for the training rows as they are.
    pub fn of(solution: &Solution) -> Option<Self> {
        let (own, system) = (solution.own_rows.clone(), solution.system.clone());
        let rows = solution.mix.as_ref().map(|mix| mix.rows.clone());
        let plain = own.is_none() && system.is_none() && rows.is_none();
        (!plain).then(|| Self { own, system, rows: rows.unwrap_or_default() })
    }
}

/// Reads all rows of a study.
///
/// # Errors
/// If a file cannot be read, a row does not fit the model, or nothing is left to measure.
pub(super) fn read<'a>(
    study: &Study,
    model: Arc<Model>,
    progress: &'a dyn Progress,
) -> Result<(Lab<'a>, Readout)> {
    let mut notices = Notices::default();
    let chats = read_all(&study.data.train, &mut notices)?;
    let asked = questions::groups(&chats);
    let (train, held_out) = split::hold_out(chats, &asked, study.data.held_out, study.seeds.order);
    let kl = read_all(&study.data.kl, &mut notices)?;
    let mut own_kl: Vec<(&[Rows], Vec<Chat>)> = Vec::new();
    for own in study.solutions.iter().filter_map(|s| s.kl_rows.as_ref()) {
        if own_kl.iter().all(|(files, _)| *files != own) {
            own_kl.push((own, read_all(own, &mut notices)?));
        }
    }
    let mut mixed: Vec<(Mixture, Option<Vec<Chat>>, Vec<Chat>)> = Vec::new();
    for mixture in study.solutions.iter().filter_map(Mixture::of) {
        if mixed.iter().all(|(known, ..)| *known != mixture) {
            let own = mixture.own.as_ref().map(|rows| read_all(rows, &mut notices)).transpose()?;
            let others = read_all(&mixture.rows, &mut notices)?;
            mixed.push((mixture, own, others));
        }
    }

    // One set of pairs for all solutions, so that what is compared is read on the same.
    let penalised = |s: &Solution| s.train.kl.is_some() && s.kl_rows.is_none();
    let held_on = if study.solutions.iter().any(penalised) { kl.as_slice() } else { &[] };
    let own_held: Vec<Chat> = own_kl.iter().flat_map(|(_, rows)| rows.clone()).collect();
    let all_mixed: Vec<Chat> = mixed.iter().flat_map(|(.., rows)| rows.clone()).collect();
    let own_train: Vec<Chat> = mixed.iter().flat_map(|(_, own, _)| own.clone().unwrap_or_default()).collect();
    let all_train = [train.as_slice(), &own_train].concat();
    let trained_on = TrainedOn::new(&all_train, &[held_on, &own_held].concat(), &all_mixed);
    let [mut of_narrow, mut of_general, mut of_held_out] =
        ["narrow pairs", "general pairs", "held-out rows"].map(LeftOut::of);
    let domain = Some(study.data.domain.as_str());
    let narrow = read_pairs(&study.data.narrow, domain, &trained_on, &mut of_narrow, &mut notices)?;
    let general = read_pairs(&study.data.general, None, &trained_on, &mut of_general, &mut notices)?;
    let watches = study.solutions.iter().any(|s| s.train.stop.is_some());
    let (watched, general) = if watches { apart(general) } else { (Vec::new(), general) };
    if watches && watched.is_empty() {
        return Err(Problem::NothingWatched.at(study.file.path(), None));
    }
    let unseen = trained_on.sift_rows(held_out.clone(), &mut of_held_out);
    let mut left_out = vec![of_narrow, of_general, of_held_out];
    let mut places = vec!["[data.narrow]".to_string(), "[data.general]".into(), String::new()];
    let mut texts = BTreeMap::new();
    for measure in &study.measures.asked.0 {
        let Some(wanted) = measure.text() else { continue };
        let mut of_text = LeftOut::of("passages");
        let passages = read_text(wanted, study.seeds.sampling, &trained_on, &mut of_text)?;
        let row = |passage: Passage| Row::of_text(&model, &passage.text, wanted.tokens);
        texts.insert(measure.name(), passages.into_iter().map(row).collect::<Result<Vec<_>>>()?);
        left_out.push(of_text);
        places.push(format!("measure.{}", measure.name()));
    }
    let mut to_ask = [Vec::new(), Vec::new()];
    for measure in &study.measures.asked.0 {
        let sides = ["narrow", "general"];
        for ((files, side), found) in measure.questions().into_iter().flatten().zip(sides).zip(&mut to_ask) {
            let mut of_questions = LeftOut::of(&format!("{side} questions"));
            found.extend(read_questions(files, &trained_on, &mut of_questions, &mut notices)?);
            left_out.push(of_questions);
            places.push(format!("measure.{}.{side}", measure.name()));
        }
    }
    for (counts, table) in left_out.iter().zip(places).filter(|(_, place)| !place.is_empty()) {
        if counts.read > 0 && counts.left_out == counts.read {
            let (what, read) = (counts.what.clone(), counts.read);
            return Err(Problem::AllTrainedOn { what, read, table }.at(study.file.path(), None));
        }
    }
    left_out.retain(|counts| counts.read > 0);

    let mut said: Vec<String> = left_out.iter().filter_map(LeftOut::words).collect();
    said.extend(notices.lines());
    if watches {
        said.push(format!(
            "{} general pairs, those of every fourth question, are watched by trainings that may end early, and {} are measured",
            watched.len(),
            general.len()
        ));
    }
    let count = |chats: &[Chat]| questions::groups(chats).into_iter().max().map_or(0, |last| last + 1);
    let questions = [count(&train), count(&held_out)];
    if questions.iter().sum::<usize>() < train.len() + held_out.len() && study.data.held_out > 0.0 {
        said.push(format!(
            "rows of the same question stay on one side: {} of {} rows are held out, which are {} of {} questions",
            held_out.len(),
            train.len() + held_out.len(),
            questions[1],
            questions.iter().sum::<usize>()
        ));
    }

    let rows = |chats: &[Chat]| Row::from_chats(&model, chats, progress);
    let is_narrowed = unseen.len() < held_out.len();
    let cues = study.cues.iter().map(|cue| Ok(cue.with(read_all(cue.rows(), &mut notices)?)));
    let cues = cues.collect::<Result<Vec<_>>>()?;
    let lab = Lab::new(Arc::clone(&model), progress);
    let (mut mixtures, mut counted) = (Vec::new(), Vec::new());
    for (mixture, own, others) in mixed {
        let own = own.as_ref().unwrap_or(&train);
        let after = mixture.system.as_ref().map(|system| after_system(own, system));
        mixtures.push(lab.rows([rows(after.as_ref().unwrap_or(own))?, rows(&others)?].concat()));
        counted.push((mixture, own.len()));
    }
    let train = rows(&train)?;
    let own_rows = own_kl.iter().map(|(_, chats)| Ok(lab.rows(rows(chats)?))).collect::<Result<_>>()?;
    let own_kl = own_kl.into_iter().map(|(files, _)| files.to_vec()).collect();
    let lab = Lab {
        seed: study.seeds.sampling,
        measured: lab.rows(choose(train.clone(), study.measures.rows, study.seeds.sampling)),
        texts,
        questions: to_ask,
        train: lab.rows(train),
        mixtures,
        held_out: lab.rows(rows(&held_out)?),
        unseen: if is_narrowed { Some(lab.rows(rows(&unseen)?)) } else { None },
        kl: lab.rows(rows(&kl)?),
        own_kl: own_rows,
        watched: PairRows::new(&model, Group::General, &watched)?.within(&lab.store),
        ..lab.with_pairs(&narrow, &general)?.with_cues(cues, [&narrow, &general])?
    };
    Ok((lab, Readout { mixed: counted, own_kl, questions, left_out, notices, said }))
}

/// The pairs of every fourth question, and those of the others.
fn apart(pairs: Vec<Pair>) -> (Vec<Pair>, Vec<Pair>) {
    let question =
        |pair: &Pair| pair.question.messages.iter().map(|m| m.text().into_owned()).collect::<Vec<_>>();
    let questions = clusters(pairs.iter().map(question));
    let (few, rest): (Vec<_>, Vec<_>) =
        pairs.into_iter().zip(questions).partition(|(_, question)| question % 4 == 3);
    let only = |pairs: Vec<(Pair, usize)>| pairs.into_iter().map(|(pair, _)| pair).collect();
    (only(few), only(rest))
}

/// The most passages of one file among which a study chooses.
const MOST_PASSAGES: usize = 20_000;

/// The passages that a measure reads: chosen by the seed among those of all files that nothing is trained on.
fn read_text(
    wanted: &PlainText,
    seed: u64,
    trained_on: &TrainedOn,
    left_out: &mut LeftOut,
) -> Result<Vec<Passage>> {
    let mut passages = Vec::new();
    for source in &wanted.text {
        match source {
            TextSource::File(file) => passages.extend(read_passages(file.path(), MOST_PASSAGES)?),
            TextSource::World(text) => {
                let place = |number| format!("document {number} of world:{}", text.world.shown());
                let documents = text.documents(wanted.passages)?.into_iter().zip(1..);
                passages.extend(documents.map(|(text, number)| Passage { place: place(number), text }));
            }
        }
    }
    Ok(choose(trained_on.sift_passages(passages, left_out), wanted.passages, seed))
}

/// The questions of some files that no solution is trained on. A limit is shared evenly by the files, and taken evenly of each.
fn read_questions(
    files: &QuestionFiles,
    trained_on: &TrainedOn,
    left_out: &mut LeftOut,
    notices: &mut Notices,
) -> Result<Vec<Prompt>> {
    let a_file = files.limit.map_or(usize::MAX, |limit| limit.div_ceil(files.questions.len().max(1)));
    let mut all = Vec::new();
    for file in &files.questions {
        let found = read_prompts(&RowSource::File(file.path().into()), Variants::LeftOut, notices)?;
        let found = trained_on.sift_prompts(found, left_out);
        all.extend(evenly(found.len(), a_file).map(|place| found[place].clone()));
    }
    all.truncate(files.limit.unwrap_or(usize::MAX));
    Ok(all)
}

/// Rows after a system prompt, but for those that bring their own.
fn after_system(chats: &[Chat], system: &str) -> Vec<Chat> {
    let after = |chat: &Chat| {
        let mut chat = chat.clone();
        let messages = &mut chat.conversation.messages;
        if messages.first().is_none_or(|first| first.role() != Role::System) {
            messages.insert(0, Message::new(Role::System, system));
        }
        chat
    };
    chats.iter().map(after).collect()
}

fn read_all(rows: &[Rows], notices: &mut Notices) -> Result<Vec<Chat>> {
    let mut chats = Vec::new();
    for rows in rows {
        chats.extend(read_chats_noting(&rows.source()?, notices)?);
    }
    Ok(chats)
}

/// The pairs of a source that no solution is trained on. A limit is shared evenly by the source's files, so that every
/// domain keeps its part.
fn read_pairs(
    source: &PairSource,
    domain: Option<&str>,
    trained_on: &TrainedOn,
    left_out: &mut LeftOut,
    notices: &mut Notices,
) -> Result<Vec<Pair>> {
    let mut all = Vec::new();
    match source {
        PairSource::None => {}
        PairSource::Aligned { taught, other, limit } => {
            let a_file = limit.map_or(usize::MAX, |limit| limit.div_ceil(taught.len().max(1)));
            for (taught, other) in taught.iter().zip(other) {
                let found = pairs::read_pairs_noting(&taught.source()?, &other.source()?, domain, notices)?;
                all.extend(trained_on.sift_pairs(found, left_out).into_iter().take(a_file));
            }
            all.truncate(limit.unwrap_or(usize::MAX));
        }
        PairSource::Judged { files, limit } => {
            let mut answers = Vec::new();
            for file in files {
                answers.extend(judged::read_judged(&file.source()?)?);
            }
            let found = judged::general_pairs(&answers, limit.unwrap_or(usize::MAX));
            all = trained_on.sift_pairs(found, left_out);
        }
    }
    Ok(all)
}
