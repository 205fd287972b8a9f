//! The page in headless Chromium.

use std::{env, fs, path::Path, process::Command};

use serde_json::Value;
use strait::report::{Input, render, render_comparison};

use super::fixture::{GENERAL, HIDDEN, NARROW, Outcome, input, tables};

const ALL: [&str; 6] = ["solutions", "preference", "certificate", "kl", "heldout", "training"];
const OF_PARAMETERS: [&str; 6] = [
    "efficiency",
    "efficiency_difference",
    "stability",
    "stability_difference",
    "significance",
    "significance_difference",
];
const WIDTHS: [u64; 2] = [1280, 400];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// Stands at the end of a copy of the page: opens all that can be opened and tells the page around it what it measured.
const MEASURE: &str = r#"<script>
addEventListener("load", () => setTimeout(() => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const plots = [...document.querySelectorAll(".plot")];
  const cut = plots.flatMap((plot) => {
    const box = plot.getBoundingClientRect();
    return [...plot.querySelectorAll("text")]
      .map((text) => [text.textContent, text.getBoundingClientRect()])
      .filter(([, at]) => at.width && (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1))
      .map(([words]) => words);
  });
  // Labels may touch; words that lie on words cannot be read.
  const overlapping = plots.flatMap((plot) => {
    const labels = [...plot.querySelectorAll("text")]
      .map((text) => [text.textContent.trim(), text.getBoundingClientRect()])
      .filter(([words, at]) => words && at.width);
    return labels.flatMap(([one, a], i) => labels.slice(i + 1)
      .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
      .map(([other]) => `${one} / ${other}`));
  });
  parent.postMessage({
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    overlapping,
    room: document.documentElement.clientWidth,
    content: document.documentElement.scrollWidth,
    plots: plots.length,
    drawn: plots.filter((plot) => plot.querySelector(".main-svg")).length,
    cut,
    hacked: Boolean(window.hacked),
  }, "*");
}, 500));
</script>"#;

/// Frames of all widths in both colour schemes around the page; their messages end up in the title. The page in a frame is
/// told the frame's scheme, which spares a browser of its own for each.
fn frames() -> String {
    let frame = |width, scheme| {
        format!(
            r#"<iframe src="page.html" style="width:{width}px;height:900px;border:0;color-scheme:{scheme}"></iframe>"#
        )
    };
    let frames: String = WIDTHS.iter().flat_map(|w| SCHEMES.map(|scheme| frame(w, scheme))).collect();
    format!(
        r#"<!doctype html><title>[]</title><script>
        const heard = [];
        addEventListener("message", ({{ data, source }}) => {{
          const frame = [...document.querySelectorAll("iframe")].find((frame) => frame.contentWindow === source);
          heard.push({{ scheme: frame.style.colorScheme, ...data }});
          document.title = JSON.stringify(heard);
        }});
        </script>{frames}"#
    )
}

/// The browser to use.
fn chromium() -> String {
    let named = env::var("STRAIT_CHROMIUM").ok();
    let names = named.into_iter().chain(["chromium", "chromium-browser", "google-chrome"].map(String::from));
    names
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()))
        .expect("Chromium is on the path, or STRAIT_CHROMIUM names it")
}

/// The title of a page after its scripts have run; they may log nothing.
pub fn title(name: &str, page: &str) -> String {
    title_in(tempfile::tempdir().unwrap().path(), name, page)
}

/// The same of a page that is put into this folder.
fn title_in(folder: &Path, name: &str, page: &str) -> String {
    fs::write(folder.join("opened.html"), page).unwrap();
    let output = Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", folder.join("opened.html").display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(said.is_empty(), "{name}: the console says {said:#?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    let title = title.unwrap_or_else(|| panic!("{name}: no title\n{log}"));
    title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Opens the report in frames of all widths and colour schemes: nothing may be logged, run over, cut off or left undrawn.
fn check(name: &str, input: &Input, plots: u64) {
    check_page(name, &render(input), plots);
}

pub fn check_page(name: &str, page: &str, plots: u64) {
    let folder = tempfile::tempdir().unwrap();
    let page = page.replace("</body>", &format!("{MEASURE}</body>"));
    fs::write(folder.path().join("page.html"), page).unwrap();
    let title = title_in(folder.path(), name, &frames());
    let heard: Vec<Value> = serde_json::from_str(&title).unwrap_or_else(|e| panic!("{name}: {e}: {title}"));
    assert_eq!(heard.len(), WIDTHS.len() * SCHEMES.len(), "{name}: {title}");
    for scheme in SCHEMES {
        let frames = heard.iter().filter(|frame| frame["scheme"] == scheme).count();
        assert_eq!(frames, WIDTHS.len(), "{name}: {title}");
    }
    for frame in heard {
        assert_eq!(frame["content"], frame["room"], "{name}: runs over: {frame}");
        assert_eq!(frame["plots"], plots, "{name}: {frame}");
        assert_eq!(frame["drawn"], plots, "{name}: {frame}");
        assert_eq!(frame["cut"], Value::Array(Vec::new()), "{name}: text runs out of its figure: {frame}");
        assert_eq!(frame["overlapping"], Value::Array(Vec::new()), "{name}: labels overlap: {frame}");
        assert_eq!(frame["dark"], frame["scheme"] == "dark", "{name}: {frame}");
        assert_eq!(frame["hacked"], false, "{name}: {frame}");
    }
}

fn two_runs() -> String {
    let mut other = input(tables(&["preference", "heldout"], &[GENERAL, HIDDEN]));
    other.facts.domain = "medical advice".into();
    other.facts.fixed = vec!["learning_rate = 0.01".into()];
    let runs = [input(tables(&ALL, &[GENERAL, NARROW])), other];
    render_comparison(&["technical".into(), "medical".into()], &runs)
}

#[test]
fn two_runs_are_told_apart() {
    let page = two_runs();
    for shown in ["Verdicts", "learning_rate", "technical, vehicles", "medical, medical advice"] {
        assert!(page.contains(shown), "{shown}");
    }
}

mod needs_chromium {
    use super::*;

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_two_solutions() {
        check("two solutions", &input(tables(&ALL, &[GENERAL, NARROW])), 9);
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_three_solutions() {
        let measured = ["preference", "certificate", "kl over scales", "heldout", "training"];
        check("three solutions", &input(tables(&measured, &[GENERAL, NARROW, HIDDEN])), 12);
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_two_runs_side_by_side() {
        check_page("two runs", &two_runs(), 3);
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_the_measures_of_parameters() {
        check("measures of parameters", &input(tables(&OF_PARAMETERS, &[GENERAL, NARROW, HIDDEN])), 5);
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_a_study_without_measures() {
        check("no measures", &input(Vec::new()), 0);
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn names_and_titles_that_try_to_be_markup() {
        const SCRIPT: &str =
            "</script><script>window.hacked = true</script><img src=x onerror=\"window.hacked = true\">";
        let hostile = Outcome { name: SCRIPT, ..GENERAL };
        let all = [&ALL[..], &OF_PARAMETERS].concat();
        let mut input = input(tables(&all, &[hostile, NARROW]));
        for text in [&mut input.title, &mut input.about, &mut input.study, &mut input.resolved_study] {
            *text = SCRIPT.into();
        }
        input.facts.domain = SCRIPT.into();
        input.facts.kind = SCRIPT.into();
        input.facts.fixed = vec![SCRIPT.into()];
        check("hostile text", &input, 14);
    }
}

#[test]
#[ignore = "no test: STRAIT_REPORT_EXAMPLE=FILE writes the report of three made-up solutions there, to be looked at"]
fn example() {
    let path = env::var_os("STRAIT_REPORT_EXAMPLE").expect("STRAIT_REPORT_EXAMPLE names a file");
    let all = [&ALL[..], &OF_PARAMETERS].concat();
    fs::write(path, render(&input(tables(&all, &[GENERAL, NARROW, HIDDEN])))).unwrap();
}
