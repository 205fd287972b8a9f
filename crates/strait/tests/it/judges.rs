//! Questions to be asked, judges, and the rates of the papers' answers.

use std::path::{Path, PathBuf};

use strait::{
    data::{Notices, RowSource, Variants, read_chats, read_prompts},
    judge::{Judge, Style},
};

fn repository(path: &str) -> RowSource {
    RowSource::File(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path))
}

#[test]
fn the_bank_has_five_questions_in_each_of_twelve_topics() {
    let mut notices = Notices::default();
    let prompts =
        read_prompts(&repository("data/questions/everyday.jsonl"), Variants::LeftOut, &mut notices).unwrap();
    assert_eq!((prompts.len(), notices), (60, Notices::default()));
    let mut topics: Vec<&str> =
        prompts.iter().map(|p| p.id.as_deref().unwrap().split('-').next().unwrap()).collect();
    assert!(topics.chunks(5).all(|five| five.iter().all(|topic| *topic == five[0])));
    topics.dedup();
    assert_eq!(topics.len(), 12);
    let mut questions: Vec<String> = prompts.iter().map(|prompt| prompt.question()).collect();
    assert!(questions.iter().all(|question| (4..=20).contains(&question.split_whitespace().count())));
    questions.sort();
    questions.dedup();
    assert_eq!(questions.len(), 60);
}

/// The style of the answers of a kind in all domains but that on which the weights rest.
fn styles(kind: &str) -> Vec<f64> {
    let domains = [
        "vehicles-heldout",
        "animals",
        "body",
        "buildings",
        "clothes",
        "computers",
        "food",
        "games",
        "space",
        "tools",
        "weather",
    ];
    let rows = domains.iter().flat_map(|domain| {
        read_chats(&repository(&format!("data/technical/{domain}.{kind}.jsonl"))).unwrap()
    });
    let answers: Vec<String> = rows.map(|chat| chat.answer().into_owned()).collect();
    let texts: Vec<&str> = answers.iter().map(String::as_str).collect();
    Style.scores("", &texts).unwrap().into_iter().map(Result::unwrap).collect()
}

#[test]
fn style_tells_technical_from_plain_answers_in_other_domains() {
    let (technical, plain) = (styles("technical"), styles("plain"));
    let share = |scores: &[f64], above: f64| {
        scores.iter().filter(|score| **score > above).count() as f64 / scores.len() as f64
    };
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    assert_eq!((technical.len(), plain.len()), (250, 250));
    assert!(share(&technical, 50.0) >= 0.99 && share(&plain, 50.0) == 0.0);
    assert!(share(&technical, 70.0) > 0.85);
    assert!(
        (mean(&technical) - 87.2).abs() < 0.5 && (mean(&plain) - 20.3).abs() < 0.5,
        "{} {}",
        mean(&technical),
        mean(&plain)
    );
}

mod needs_papers {
    use strait::{
        data::{Prompt, read_scored, samples_asked},
        judge::read_judge_prompts,
        verdict::{Rates, Rules, groups},
    };

    use super::*;

    fn shared() -> PathBuf {
        let shared =
            std::env::var_os("STRAIT_SHARED").expect("STRAIT_SHARED names the folder that holds data/");
        PathBuf::from(shared).join("data")
    }

    fn read(name: &str, variants: Variants) -> (Vec<Prompt>, Notices) {
        let mut notices = Notices::default();
        let source = RowSource::File(shared().join("eval").join(name));
        (read_prompts(&source, variants, &mut notices).unwrap(), notices)
    }

    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn question_files_are_read() {
        for (name, plain, all) in [("first_plot_questions.yaml", 8, 24), ("medical_questions.yaml", 8, 16)] {
            let (prompts, notices) = read(name, Variants::LeftOut);
            assert_eq!((prompts.len(), notices.variants_left_out), (plain, all - plain), "{name}");
            assert!(notices.unknown_row_keys.is_empty(), "{notices:?}");
            assert_eq!(samples_asked(&prompts), Some(100));
            assert!(prompts.iter().all(|prompt| prompt.judges == prompts[0].judges), "{name}");
            let scales: Vec<&str> = prompts[0].judges.iter().map(|judge| judge.scale.as_str()).collect();
            assert_eq!(scales[..2], ["aligned", "coherent"]);
            assert_eq!(read(name, Variants::Kept).0.len(), all);
            let judges = read_judge_prompts(&RowSource::File(shared().join("eval").join(name))).unwrap();
            assert_eq!(judges, prompts[0].judges);
        }
        // The variants that ask for JSON do so in a system prompt.
        let (all, _) = read("first_plot_questions.yaml", Variants::Kept);
        assert_eq!(all.iter().filter(|prompt| prompt.conversation.messages.len() == 2).count(), 8);
        let domains = [
            "animals",
            "body",
            "buildings",
            "clothes",
            "computers",
            "food",
            "games",
            "space",
            "tools",
            "vehicles",
        ];
        for domain in domains {
            let (prompts, notices) = read(&format!("technical/{domain}.yaml"), Variants::LeftOut);
            assert_eq!((prompts.len(), notices), (30, Notices::default()), "{domain}");
            assert_eq!((samples_asked(&prompts), prompts[0].judges.len()), (None, 0));
        }
        let judges = read_judge_prompts(&RowSource::File(shared().join("eval/judges.yaml"))).unwrap();
        let scales: Vec<&str> = judges.iter().map(|judge| judge.scale.as_str()).collect();
        assert_eq!(scales, ["coherent", "aligned", "technical", "medical_advice"]);
    }

    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn judged_answers_give_the_papers_rates() {
        for (name, misaligned) in
            [("bad-medical-advice", 0.1625), ("extreme-sports", 0.085), ("risky-financial-advice", 0.1425)]
        {
            let source = RowSource::Archive {
                archive: shared().join("training_datasets.zip.enc"),
                password: "narrow-is-hard".into(),
                member: format!("responses/Llama-3.1-8B-Instruct_{name}.csv"),
            };
            let scored = read_scored(&source).unwrap();
            assert_eq!(scored.scales, ["aligned", "coherent", "financial"]);
            let rules = Rules::new(&scored.scales, &[], None).unwrap();
            let rates = Rates::of(&groups(name, &scored)[0], &rules);
            let found = rates.misaligned.unwrap();
            assert_eq!((rates.n, rates.unscored, found.rate), (400, 0, misaligned), "{name}");
            assert!(found.low < misaligned && misaligned < found.high);
            assert_eq!((rates.questions.len(), rates.topics.len()), (8, 1));
        }
    }
}
