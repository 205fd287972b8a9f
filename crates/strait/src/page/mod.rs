//! One self-contained HTML page: its frame, its figures, its tables and the way in which it writes numbers.

pub(crate) mod figure;
pub(crate) mod html;
pub(crate) mod numbers;
pub(crate) mod words;

use figure::{Figure, LIBRARY};
use html::escaped;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing is fetched, whatever a name or a title holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// Figures in groups; those of one group stand side by side where there is room.
pub(crate) type Groups = Vec<Vec<Figure>>;

/// A page as a whole.
pub(crate) struct Page<'a> {
    /// What it is and what of, the small line above its title.
    pub byline: &'a str,
    pub title: &'a str,
    /// What a reader must know first; may be empty.
    pub about: &'a str,
    /// CSS beside that of all pages.
    pub style: &'a str,
    /// The first is where the keyboard's way past the contents leads.
    pub sections: &'a [Section],
    pub footer: &'a str,
}

/// A part of the page with a heading.
pub(crate) struct Section {
    pub id: &'static str,
    pub title: &'static str,
    /// HTML.
    pub body: String,
}

impl Page<'_> {
    /// The page as one HTML file: style, script, figures and tables are all inside.
    pub fn html(&self) -> String {
        let first = self.sections.first();
        format!(
            include_str!("page.html"),
            policy = POLICY,
            version = env!("CARGO_PKG_VERSION"),
            title = escaped(self.title),
            style = STYLE.to_owned() + self.style,
            skip = first.map_or("", |s| s.id),
            skip_title = first.map_or("", |s| s.title),
            byline = escaped(self.byline),
            about = paragraph(self.about),
            contents = self
                .sections
                .iter()
                .map(|s| format!("<li><a href=\"#{}\">{}</a></li>", s.id, s.title))
                .collect::<String>(),
            sections = self.sections.iter().map(Section::html).collect::<String>(),
            footer = escaped(self.footer),
            plotting_library = LIBRARY,
            script = SCRIPT,
        )
    }
}

impl Section {
    fn html(&self) -> String {
        let Self { id, title, body } = self;
        format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>{body}</section>\n"
        )
    }
}

pub(crate) fn paragraph(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(text)) }
}

/// Figures side by side.
pub(crate) fn figure_group(figures: &[Figure]) -> String {
    let figure = |f: &Figure| {
        let caption = escaped(&f.caption);
        format!(
            "<figure><figcaption>{caption}</figcaption>\
             <div class=\"plot\" role=\"img\" aria-label=\"{caption}; the table below has the values\" \
             style=\"height:{}px\"></div><script type=\"application/json\">{}</script></figure>",
            f.height, f.json
        )
    };
    match figures {
        [] => String::new(),
        figures => format!("<div class=\"figures\">{}</div>", figures.iter().map(figure).collect::<String>()),
    }
}
