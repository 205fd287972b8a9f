//! The help texts.

use crate::common::Place;

const COMMANDS: [&str; 41] = [
    "",
    "demo",
    "init",
    "run",
    "status",
    "report",
    "score",
    "sample",
    "judge",
    "rates",
    "check",
    "bench",
    "chat",
    "monitor",
    "monitor calibrate",
    "monitor read",
    "monitor evaluate",
    "model",
    "model pull",
    "model inspect",
    "edit",
    "edit check",
    "edit inspect",
    "edit convert",
    "edit read",
    "edit patch",
    "direction",
    "direction extract",
    "direction sweep",
    "direction tokens",
    "direction compare",
    "direction pca",
    "data",
    "data inspect",
    "data protect",
    "data unprotect",
    "world",
    "world show",
    "world pretrain",
    "world causal",
    "completions",
];

#[test]
fn every_command_has_help_of_a_hundred_columns() {
    let place = Place::new();
    for command in COMMANDS {
        let said = place.run(command.split_whitespace().chain(["--help"]));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{command}");
        let longest = said.out.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= 100, "{command}: a line of {longest} columns");
        let name = if command.is_empty() { "strait".into() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(format!("help-{name}"), said.out);
    }
}

#[test]
fn every_command_shows_examples() {
    let place = Place::new();
    for command in COMMANDS {
        let said = place.run(command.split_whitespace().chain(["--help"]));
        assert!(said.out.contains("Examples:\n  strait "), "{command}");
    }
}

#[test]
fn no_command_is_missing_from_these_tests() {
    let place = Place::new();
    for group in ["", "monitor", "model", "edit", "direction", "data", "world"] {
        let said = place.run(group.split_whitespace().chain(["--help"]));
        let listed = said
            .out
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| !line.is_empty());
        let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            let full = format!("{group} {name}");
            assert!(COMMANDS.contains(&full.trim()), "{full}");
        }
    }
}

#[test]
fn the_book_names_every_command() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/commands.md");
    let page = std::fs::read_to_string(page).unwrap();
    for command in COMMANDS
        .iter()
        .filter(|command| !["", "monitor", "model", "edit", "direction", "data", "world"].contains(command))
    {
        assert!(page.contains(&format!("`strait {command}")), "{command}");
    }
}

#[test]
fn the_version_is_the_crates() {
    let said = Place::new().run(["--version"]);
    assert_eq!(said.out, format!("strait {}\n", env!("CARGO_PKG_VERSION")));
}
