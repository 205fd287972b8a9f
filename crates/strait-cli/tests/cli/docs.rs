//! The book: its pages are in its table of contents, and what they point to is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every Markdown file under a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
    found
}

/// The text of a page without its blocks and pieces of code, which hold brackets of their own.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let outside_blocks: String = text.split("```").step_by(2).collect();
    outside_blocks.split('`').step_by(2).collect()
}

/// The targets of a page's links, in their order.
fn links(page: &Path) -> Vec<String> {
    let prose = prose(page);
    let behind = prose.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')').map(|(link, _)| link.to_string())).collect()
}

/// The name of a heading in links, as mdBook and code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.trim_start_matches('#').trim().chars();
    kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let root = repository();
    let mut all = pages(&root.join("docs"));
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        all.push(root.join(page));
    }
    all.extend(pages(&root.join("data")));
    for page in all {
        for link in links(&page).iter().filter(|link| !link.contains("://")) {
            let (path, heading) =
                link.split_once('#').map_or((link.as_str(), None), |(path, h)| (path, Some(h)));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "`{}` leads to `{link}`, which is not there", page.display());
            if let Some(heading) = heading {
                let text = fs::read_to_string(&target).unwrap();
                let there =
                    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(there, "`{}` leads to `{link}`, but no heading is named so", page.display());
            }
        }
    }
}

#[test]
fn every_page_is_in_the_table_of_contents_and_links_stay_in_the_book() {
    let book = repository().join("docs/src").canonicalize().unwrap();
    let contents = links(&book.join("SUMMARY.md"));
    for page in pages(&book).iter().filter(|page| !page.ends_with("SUMMARY.md")) {
        let name = page.strip_prefix(&book).unwrap().to_str().unwrap();
        assert_eq!(contents.iter().filter(|link| *link == name).count(), 1, "`{name}` in SUMMARY.md");
        for link in links(page).iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            let inside = target.canonicalize().is_ok_and(|target| target.starts_with(&book));
            assert!(inside, "`{name}` leads to `{link}`, which a printed book does not hold");
        }
    }
}
