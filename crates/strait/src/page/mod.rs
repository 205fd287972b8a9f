//! Self-contained HTML pages: their frame, figures, tables, and the way in which they write numbers.

pub(crate) mod figure;
pub(crate) mod heat;
pub(crate) mod html;
pub(crate) mod lanes;
pub(crate) mod numbers;
pub(crate) mod slider;
pub(crate) mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use figure::{Figure, LIBRARY};
use html::paragraph;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing is fetched, whatever a name or a title holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// Figures in groups; those of one group stand side by side where there is room.
pub(crate) type Groups = Vec<Vec<Figure>>;

/// A page as a whole.
pub(crate) struct Page<'a> {
    /// The small line above its title: the command that made it, and of what.
    pub byline: &'a str,
    pub title: &'a str,
    /// An introduction; may be empty.
    pub about: &'a str,
    /// CSS beside that of all pages.
    pub style: &'a str,
    /// The first is where the keyboard's way past the contents leads.
    pub sections: &'a [Section],
    pub footer: &'a str,
}

/// A part of the page with a heading.
pub(crate) struct Section {
    id: &'static str,
    title: &'static str,
    body: Markup,
}

impl Section {
    pub fn new(id: &'static str, title: &'static str, body: Markup) -> Self {
        Self { id, title, body }
    }
}

impl Page<'_> {
    /// The page as one HTML file: style, script, figures and tables are all inside.
    pub fn html(&self) -> String {
        let has_plots = self.sections.iter().any(|section| section.body.0.contains("class=\"plot\""));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="generator" content={ "strait " (env!("CARGO_PKG_VERSION")) };
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) (PreEscaped(self.style)) }
                }
                body {
                    @if let Some(first) = self.sections.first() {
                        a.skip href={ "#" (first.id) } { "Skip to " (first.title) }
                    }
                    header {
                        p.soft { (self.byline) }
                        h1 { (self.title) }
                        (paragraph(self.about))
                        nav aria-label="Contents" { ul {
                            @for section in self.sections { li { a href={ "#" (section.id) } { (section.title) } } }
                        } }
                    }
                    main {
                        @if has_plots {
                            noscript { p { "The plots need JavaScript; the tables have the same values." } }
                        }
                        @for Section { id, title, body } in self.sections {
                            section id=(id) aria-labelledby={ (id) "-title" } {
                                h2 id={ (id) "-title" } { (title) }
                                (body)
                            }
                        }
                    }
                    footer { p.soft { (self.footer) } }
                    @if has_plots {
                        script { (PreEscaped(LIBRARY)) }
                        script { (PreEscaped(SCRIPT)) }
                    }
                }
            }
        };
        // Whoever looks at the file itself should see no more of its text than a browser shows.
        page.into_string().replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}")
    }
}

/// Figures side by side.
pub(crate) fn figure_group(figures: &[Figure]) -> Markup {
    html! {
        @if !figures.is_empty() {
            div.figures {
                @for Figure { caption, height, json } in figures {
                    figure {
                        figcaption { (caption) }
                        div.plot role="img" aria-label={ (caption) "; the table below has the values" }
                            style={ "height:" (height) "px" } {}
                        script type="application/json" { (PreEscaped(json)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_file() {
        let sections = [Section::new("s", "S", paragraph("\u{1b}[2J\u{9b}1m\t"))];
        let page =
            Page { byline: "", title: "a\0b", about: "", style: "", sections: &sections, footer: "" }.html();
        assert!(!page.contains(|c: char| c.is_control() && !c.is_whitespace()));
        assert!(page.contains("<p>\u{fffd}[2J\u{fffd}1m\t</p>") && page.contains("<h1>a\u{fffd}b</h1>"));
    }
}
