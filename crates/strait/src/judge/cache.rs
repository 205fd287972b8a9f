//! Scores that are kept: what was judged once is never asked for again.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strait_model::{
    files::hex,
    progress::{Progress, Unit},
};

use super::{Asked, Judge, Problem, Reason, Score};
use crate::{Error, Result, interval::clusters, journal};

/// A file of scores, a line each, by the hashes of what they follow from: the judge, the question and the answer. It is locked
/// against others while it is open; a line that a killed process left unfinished is cut off.
#[derive(Debug)]
pub struct ScoreCache {
    path: PathBuf,
    file: File,
    scores: HashMap<String, Score>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl ScoreCache {
    /// Opens a file, or makes it where there is none.
    ///
    /// # Errors
    /// If it holds something else, another process writes into it, or the file system refuses.
    pub fn open(path: &Path) -> Result<Self> {
        let file = journal::open(path, || Error::input(path, None, Problem::InUse))?;
        let mut scores = HashMap::new();
        journal::read_lines(&file, path, |number, text| {
            let score = |line: Line| match (line.score, line.reason) {
                (Some(score), None) if (0.0..=100.0).contains(&score) => Some((line.key, Ok(score))),
                (None, Some(reason)) => Some((line.key, Err(reason))),
                _ => None,
            };
            let found = serde_json::from_slice(text).ok().and_then(score);
            let (key, score) = found.ok_or_else(|| Error::input(path, Some(number), Problem::NotScores))?;
            scores.insert(key, score);
            Ok(())
        })?;
        Ok(Self { path: path.into(), file, scores })
    }

    /// The scores of a judge for some answers, in their order: those that are kept, and the others asked for and kept. Also the number
    /// of those that were asked for.
    ///
    /// # Errors
    /// If the judge cannot be asked, or the file cannot be written.
    pub fn scores(
        &mut self,
        judge: &dyn Judge,
        question: &str,
        answers: &[&str],
    ) -> Result<(Vec<Score>, usize)> {
        let asked: Vec<Asked> = answers.iter().map(|answer| Asked { question, answer }).collect();
        self.scores_of(judge, &asked, &mut |_| {})
    }

    /// As [`scores`](Self::scores), for answers to any questions; `seen` is told of answers as their scores are there.
    ///
    /// # Errors
    /// As there.
    pub fn scores_of(
        &mut self,
        judge: &dyn Judge,
        asked: &[Asked<'_>],
        seen: &mut dyn FnMut(usize),
    ) -> Result<(Vec<Score>, usize)> {
        let bases: Vec<String> = asked.iter().map(|asked| judge.basis(asked.question)).collect();
        let key = |at: usize, scale: &str| key(scale, &bases[at], asked[at].answer);
        let keys: Vec<String> = (0..asked.len()).map(|at| key(at, judge.scale())).collect();
        let (mut lacking, mut chosen) = (Vec::new(), HashSet::new());
        for (at, key) in keys.iter().enumerate() {
            // Equal answers are asked for once.
            if !self.scores.contains_key(key) && chosen.insert(key) {
                lacking.push(at);
            }
        }
        seen(asked.len() - lacking.len());
        if !lacking.is_empty() {
            let asked: Vec<Asked> = lacking.iter().map(|&at| asked[at]).collect();
            judge.score_all(&asked, &mut |place, scores| {
                let at = lacking[place];
                self.keep(scores.iter().map(|&(scale, score)| (key(at, scale), score)))?;
                seen(1);
                Ok(())
            })?;
        }
        let scores = keys.iter().map(|key| self.scores.get(key).copied().unwrap_or(Err(Reason::NoNumber)));
        Ok((scores.collect(), lacking.len()))
    }

    /// As [`scores_of`](Self::scores_of), given to the judge as it takes them: those of one question together, and between batches a
    /// stop is looked for.
    ///
    /// # Errors
    /// As there, or if the user asks for a stop: what is judged then is kept.
    pub fn judged(
        &mut self,
        judge: &dyn Judge,
        asked: &[Asked<'_>],
        title: &str,
        progress: &dyn Progress,
    ) -> Result<(Vec<Score>, usize)> {
        let task = progress.begin(title, Some(asked.len() as u64), Unit::Count);
        let by_question = by_question(asked);
        let batches: Vec<Vec<usize>> = match judge.at_a_time() {
            Some(most) => by_question.iter().flat_map(|of| of.chunks(most).map(<[_]>::to_vec)).collect(),
            None => vec![by_question.concat()],
        };
        let (mut scores, mut new) = (vec![Err(Reason::NoNumber); asked.len()], 0);
        for places in batches {
            if progress.stopped() {
                return Err(Error::Interrupted);
            }
            let batch: Vec<Asked> = places.iter().map(|&at| asked[at]).collect();
            let (found, lacking) = self.scores_of(judge, &batch, &mut |seen| task.advance(seen as u64))?;
            new += lacking;
            places.iter().zip(found).for_each(|(&at, score)| scores[at] = score);
        }
        Ok((scores, new))
    }

    /// Keeps the scores of one reply, all of them in one write.
    fn keep(&mut self, scores: impl Iterator<Item = (String, Score)>) -> Result<()> {
        let io = |error: io::Error| strait_model::Error::io(&self.path, "write the file")(error);
        let (mut lines, scores) = (Vec::new(), scores.collect::<Vec<_>>());
        for (key, score) in &scores {
            let line = Line { key: key.clone(), score: score.ok(), reason: score.err() };
            serde_json::to_writer(&mut lines, &line).map_err(|error| io(error.into()))?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines).map_err(io)?;
        self.scores.extend(scores);
        Ok(())
    }
}

/// The places of the answers to each question.
fn by_question(asked: &[Asked<'_>]) -> Vec<Vec<usize>> {
    let mut places: Vec<Vec<usize>> = Vec::new();
    for (at, question) in clusters(asked.iter().map(|asked| asked.question)).into_iter().enumerate() {
        if question == places.len() {
            places.push(Vec::new());
        }
        places[question].push(at);
    }
    places
}

/// The hash of all that a score follows from.
fn key(scale: &str, basis: &str, answer: &str) -> String {
    let mut hash = Sha256::new();
    for part in [scale, basis, answer] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::judge::Give;

    /// Scores an answer by its length, and writes down what it was asked.
    struct Counting(RefCell<Vec<String>>);

    impl Judge for Counting {
        fn name(&self) -> &str {
            "counting"
        }

        fn scale(&self) -> &str {
            "length"
        }

        fn basis(&self, question: &str) -> String {
            question.into()
        }

        fn score_each(&self, _: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
            for (at, answer) in answers.iter().enumerate() {
                if *answer == "never" {
                    return Err(Error::Interrupted);
                }
                self.0.borrow_mut().push(answer.to_string());
                give(at, if answer.is_empty() { Err(Reason::Empty) } else { Ok(answer.len() as f64 / 3.0) })?;
            }
            Ok(())
        }
    }

    #[test]
    fn nothing_is_asked_for_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/scores.jsonl");
        let judge = Counting(RefCell::default());
        let expected = vec![Ok(1.0 / 3.0), Err(Reason::Empty), Ok(1.0 / 3.0)];
        let mut cache = ScoreCache::open(&path).unwrap();
        assert_eq!(cache.scores(&judge, "q", &["a", "", "a"]).unwrap(), (expected.clone(), 2));
        let busy = ScoreCache::open(&path).unwrap_err().to_string();
        assert!(busy.ends_with("another strait is writing into it"), "{busy}");
        drop(cache);

        // As a kill may leave it: half a line behind the others.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"key\": \"half");
        std::fs::write(&path, &bytes).unwrap();
        let mut cache = ScoreCache::open(&path).unwrap();
        assert_eq!(cache.scores(&judge, "q", &["a", "", "a"]).unwrap(), (expected, 0));
        assert_eq!(cache.scores(&judge, "other", &["a", "bb"]).unwrap().1, 2);
        // What was given before a judge failed is kept.
        assert!(cache.scores(&judge, "q", &["ccc", "never", "dddd"]).is_err());
        assert_eq!(*judge.0.borrow(), ["a", "", "a", "bb", "ccc"]);
        drop(cache);
        assert_eq!(ScoreCache::open(&path).unwrap().scores.len(), 5);
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        for text in ["{\"question\": 1}\n", "{\"key\": \"a\"}\n", "{\"key\": \"a\", \"score\": 101}\n", "\n"]
        {
            std::fs::write(&path, text).unwrap();
            let error = ScoreCache::open(&path).unwrap_err().to_string();
            assert!(error.ends_with("line 1: these are no scores that strait kept"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
