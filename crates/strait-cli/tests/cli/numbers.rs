//! Every number of a study beyond its bounds, and at them: an error in words before anything starts, or a dry run that ends.

use std::fs;

use crate::{common::Place, studies::small_study};

/// A number in the small study: the text that is replaced, and the one that replaces it, the number in the place of N.
/// Then the largest number that is taken, and whether only whole ones are.
type Key = (&'static str, &'static str, &'static str, f64, bool);

const KEYS: [Key; 38] = [
    ("seeds.initialisation", "[data]", "[seeds]\ninitialisation = N\n[data]", 9e18, true),
    ("seeds.order", "[data]", "[seeds]\norder = N\n[data]", 9e18, true),
    ("seeds.sampling", "[data]", "[seeds]\nsampling = N\n[data]", 9e18, true),
    ("held_out", "held_out = 0.2", "held_out = N", 0.9, false),
    ("narrow.limit", "[data.narrow]", "[data.narrow]\nlimit = N", 1e7, true),
    ("layer", "[train]", "[train]\nlayer = N", 1.0, true),
    ("rank", "edit = \"steering\"", "edit = \"lora\"\nrank = N", 65_536.0, true),
    ("alpha", "edit = \"steering\"", "edit = \"lora\"\nalpha = N", 1e6, false),
    ("learning_rate", "learning_rate = 0.01", "learning_rate = N", 1000.0, false),
    ("weight_decay", "[train]", "[train]\nweight_decay = N", 1000.0, false),
    ("betas", "[train]", "[train]\nbetas = [0.9, N]", 0.999, false),
    ("epsilon", "[train]", "[train]\nepsilon = N", 1.0, false),
    ("warmup", "[train]", "[train]\nwarmup = N", 1e6, true),
    ("batch_size", "batch_size = 2\n", "batch_size = N\n", 1e4, true),
    ("accumulation", "[train]", "[train]\naccumulation = N", 1e4, true),
    ("clip", "[train]", "[train]\nclip = N", 1e6, false),
    ("epochs", "steps = 4", "epochs = N", 1e4, false),
    ("steps", "steps = 4", "steps = N", 1e6, true),
    ("checkpoint_every", "checkpoint_every = 100", "checkpoint_every = N", 1e6, true),
    ("rows", "[train]", "[train]\nrows = N", 1e7, true),
    ("seeds", "[train]", "[train]\nseeds = [N]", 1e9, true),
    ("mix.ratio", "[train]", "[train]\nmix = { rows = \"kl.jsonl\", ratio = N }", 1000.0, false),
    ("kl.weight", "kl = { weight = 3.0", "kl = { weight = N", 1e100, false),
    ("kl.to", "kl = { weight = 3.0", "kl = { weight = \"auto\", to = N", 1e100, false),
    ("kl.tries", "kl = { weight = 3.0", "kl = { weight = \"auto\", tries = N", 100.0, true),
    ("kl.batch_size", "weight = 3.0, batch_size = 2", "weight = 3.0, batch_size = N", 1e4, true),
    ("scales", "[measure]", "[measure]\nscales = [1, N]", 1000.0, false),
    ("coherence", "[measure]", "[measure]\ncoherence = N", 1000.0, false),
    ("resamples", "resamples = 100", "resamples = N", 1e5, true),
    ("measure.rows", "rows = 3", "rows = N", 1e7, true),
    ("efficiency.norms", "norms = 2 }", "norms = N }", 1000.0, true),
    ("stability.seeds", "seeds = 2 }", "seeds = N }", 1000.0, true),
    ("significance.tokens", "random = 1", "tokens = N, random = 1", 1e6, true),
    ("significance.random", "random = 1", "random = N", 1000.0, true),
    ("gradient.checkpoints", "rows = 3", "rows = 3\ngradient = { checkpoints = N }", 1000.0, true),
    ("turn.gap", "rows = 3", "rows = 3\nturn = { gap = N }", 1e6, true),
    ("direction.layers", "rows = 3", "rows = 3\ndirection = { layers = N }", 1000.0, true),
    ("direction.pairs", "rows = 3", "rows = 3\ndirection = { pairs = N }", 1e7, true),
];

#[test]
fn numbers_beyond_their_bounds_are_refused_and_those_at_them_end_a_dry_run() {
    let place = Place::new();
    small_study(&place, 4);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    for (key, there, instead, most, whole) in KEYS {
        let dry_run = |number: &str| {
            assert!(study.contains(there), "{key}");
            place.write("other.toml", &study.replacen(there, &instead.replace('N', number), 1));
            place.run(["run", "other.toml", "--dry-run", "--json"])
        };
        let mut beyond =
            vec!["-7", "nan", "inf", "-inf", "1e400", "9223372036854775808", "1e-320", "''", "[]"];
        let above = format!("{:?}", most * 1.01 + 1.0);
        if !whole || most < 9e18 {
            beyond.extend([above.as_str(), "1e300"]);
        }
        if most < 9e18 {
            beyond.push("9223372036854775807");
        }
        if whole {
            beyond.extend(["0.5", "1e3"]);
        }
        for number in beyond {
            let said = dry_run(number);
            assert_eq!(said.code, Some(1), "{key} = {number}: {}{}", said.out, said.err);
            let error = &said.object()["error"];
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("other.toml`, line ") && error["hint"].is_string(), "{key}: {message}");
        }
        let said = dry_run(&if whole { (most as i64).to_string() } else { format!("{most:?}") });
        assert!(matches!(said.code, Some(0 | 1)), "{key} = {most}: {}", said.err);
        let object = said.object();
        match said.code {
            Some(0) => assert!(object["lines"].to_string().contains("estimate: "), "{object}"),
            _ => assert!(object["error"]["hint"].is_string(), "{object}"),
        }
    }
}

#[test]
fn bounds_that_are_kept_one_by_one_may_be_too_much_together() {
    let place = Place::new();
    small_study(&place, 4);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    let list = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let solutions = |n: usize| {
        (0..n)
            .map(|i| format!("[[solution]]\nname = \"s{i}\"\nseeds = [{}]\n", list(400)))
            .collect::<String>()
    };
    for (there, instead, said) in [
        ("steps = 4", "steps = 1000000\naccumulation = 10000".to_string(), "rows in all"),
        ("steps = 4", "epochs = 10000\nmix = { rows = \"kl.jsonl\", ratio = 1000 }".into(), "rows in all"),
        ("steps = 4", format!("steps = 1000000\nseeds = [{}]", list(200)), "rows in all"),
        ("steps = 4", format!("steps = [{}]\nseeds = [{}]", list(100), list(100)), "sweeps 10000 points"),
        ("[measure]", format!("{}[measure]", solutions(3)), "at most 1000 are allowed"),
        ("steps = 4", format!("steps = 4\nseeds = [{}]", list(1001)), "at most 1000 entries"),
    ] {
        place.write("other.toml", &study.replacen(there, &instead, 1));
        for arguments in [&["run", "other.toml", "--dry-run", "--json"][..], &["run", "other.toml", "--json"]]
        {
            let refused = place.run(arguments);
            assert_eq!(refused.code, Some(1), "{instead}: {}", refused.err);
            let message = refused.object()["error"]["message"].to_string();
            assert!(message.contains(said), "{message}");
        }
        assert!(!place.path("runs/other/report.html").exists());
    }
}

#[test]
fn memory_is_a_size_that_holds_the_study() {
    let place = Place::new();
    small_study(&place, 4);
    for wrong in ["6GiBs", "-1GiB", "0", "nan"] {
        let said = place.run(["run", "small.toml", &format!("--memory={wrong}")]);
        assert_eq!(said.code, Some(2), "{wrong}: {}", said.err);
        assert!(said.err.contains("expected a size such as 6GiB"), "{}", said.err);
    }
    for arguments in [
        &["run", "small.toml", "--json", "--memory", "100MiB"][..],
        &["run", "small.toml", "--json", "--dry-run", "--memory", "100MB"],
    ] {
        let refused = place.run(arguments);
        assert_eq!(refused.code, Some(1), "{}", refused.err);
        let error = &refused.object()["error"];
        assert!(error["message"].as_str().unwrap().contains("step `model` needs 0.13 GiB"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("`--memory 129MiB` or more"), "{error}");
    }
    assert!(!place.path("runs/small/solutions").exists());
}
