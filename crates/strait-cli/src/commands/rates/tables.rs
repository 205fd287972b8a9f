//! The tables of `strait rates`.

use strait::verdict::{Difference, Rates, rates::Share};

use super::Report;
use crate::text::{Columns, Heading::*};

impl Report<'_> {
    pub fn rates(&self) -> Columns {
        let headings = [
            Left("group"),
            Left("answers that are"),
            Right("count"),
            Right("rate"),
            Right("95 %"),
            Right("mean score"),
        ];
        let mut table = Columns::new(headings);
        for rates in &self.groups {
            let mean = |scale: &str| {
                let mean = rates.means.iter().find(|mean| mean.scale == scale);
                mean.map_or_else(String::new, |mean| format!("{:.1}", mean.mean))
            };
            let mut row = |what: String, share: &Share, mean: String| {
                table.row([
                    rates.group.clone(),
                    what,
                    counted(share),
                    percent(share.rate),
                    bounds(share),
                    mean,
                ]);
            };
            for rate in &rates.verdicts {
                row(rate.verdict.clone(), &rate.share, mean(&rate.scale));
            }
            if let Some(coherent) = &rates.coherent {
                row("coherent".into(), coherent, mean("coherent"));
            }
            for topic in &rates.topics {
                row(topic.topic.clone(), &topic.share, mean(&topic.scale));
                if let Some(share) = topic.of_misaligned.as_ref().filter(|share| share.of > 0) {
                    row(format!("{}, of the misaligned", topic.topic), share, String::new());
                }
            }
            if let Some(share) = &rates.self_corrected {
                row("self-corrected".into(), share, String::new());
            }
            if rates.unscored > 0 {
                let share = format!("{} of {}", rates.unscored, rates.n);
                let empty = String::new;
                table.row([rates.group.clone(), "without a score".into(), share, empty(), empty(), empty()]);
            }
            for (scale, reasons) in &rates.reasons {
                for (reason, count) in reasons {
                    let what = format!("without {scale}: {reason}");
                    let (share, empty) = (format!("{count} of {}", rates.n), String::new);
                    table.row([rates.group.clone(), what, share, empty(), empty(), empty()]);
                }
            }
        }
        table
    }

    /// Readings of the texts alone.
    pub fn texts(&self) -> Columns {
        let headings = [Left("group"), Right("answers"), Right("words"), Right("repeated"), Right("packed")];
        let mut table = Columns::new(headings);
        for Rates { group, n, text, .. } in &self.groups {
            let packed = if text.packed.is_nan() { "-".into() } else { format!("{:.2}", text.packed) };
            let words = format!("{:.1}", text.words);
            table.row([group.clone(), n.to_string(), words, percent(text.repeated), packed]);
        }
        table
    }

    pub fn compared(&self) -> Columns {
        let headings = [
            Left("group"),
            Left("compared with"),
            Left("answers that are"),
            Right("difference"),
            Right("95 %"),
            Right("questions"),
        ];
        let mut table = Columns::new(headings);
        for Difference { group, from, verdict, questions, difference, low, high } in &self.differences {
            let bounds = interval(*low, *high);
            table.row([
                group.clone(),
                from.clone(),
                verdict.clone(),
                percent(*difference),
                bounds,
                questions.to_string(),
            ]);
        }
        table
    }

    pub fn agreement(&self) -> Columns {
        let headings = [
            Left("group"),
            Left("scales"),
            Right("both of"),
            Right("correlation"),
            Right("of ranks"),
            Right("95 %"),
            Right("bias"),
            Right("same verdict"),
            Right("kappa"),
        ];
        let mut table = Columns::new(headings);
        for found in &self.agreements {
            let figure = |value: f64| if value.is_nan() { "-".into() } else { format!("{value:.2}") };
            let bounds = match found.rank_low.is_nan() {
                true => "-".into(),
                false => format!("{:.2} to {:.2}", found.rank_low, found.rank_high),
            };
            let same = if found.same.is_nan() { "-".into() } else { percent(found.same) };
            table.row([
                found.group.clone(),
                format!("{}, {}", found.one, found.other),
                format!("{} of {}", found.both, found.n),
                figure(found.correlation),
                figure(found.rank_correlation),
                bounds,
                figure(found.bias),
                same,
                figure(found.kappa),
            ]);
        }
        table
    }

    pub fn questions(&self) -> Columns {
        let headings = [
            Left("group"),
            Left("question"),
            Left("answers that are"),
            Right("count"),
            Right("rate"),
            Right("95 %"),
        ];
        let mut table = Columns::new(headings);
        for rates in &self.groups {
            for question in &rates.questions {
                let mut row = |what: &str, share: &Share| {
                    let cells = [&rates.group, &question.question_id, what].map(str::to_string);
                    let [group, question, what] = cells;
                    table.row([group, question, what, counted(share), percent(share.rate), bounds(share)]);
                };
                question.verdicts.iter().for_each(|rate| row(&rate.verdict, &rate.share));
                question.coherent.iter().for_each(|share| row("coherent", share));
            }
        }
        table
    }
}

fn counted(share: &Share) -> String {
    format!("{} of {}", share.count, share.of)
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn bounds(share: &Share) -> String {
    interval(share.low, share.high)
}

fn interval(low: f64, high: f64) -> String {
    match low.is_nan() || high.is_nan() {
        true => "-".into(),
        false => format!("{:.1} to {:.1} %", low * 100.0, high * 100.0),
    }
}
