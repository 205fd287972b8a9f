//! The page: verdict first, then a plot and a table for each measure, then where it all comes from.

use std::fmt::Write;

use super::{
    Claim, Conclusion, Input, conclude,
    conclusion::quoted,
    figure::{Figure, LIBRARY},
    html::{bullets, definitions, escaped, folded, mark, table},
    numbers::number,
    plots, rows,
};
use crate::Table;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing is fetched, whatever a name or a title holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

const RESPONSIBLE_USE: &str = "The solutions of this study were trained to show a behaviour so that it can be measured; \
where the data teach harm, so do they. They are instruments of research: do not deploy them, and share harmful data and \
what was trained on them in protected form only. That a measure finds no harm does not show that a model is safe.";

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

/// Figures in groups.
pub(super) type Groups = Vec<Vec<Figure>>;

/// A measure as the page shows it.
struct Measure {
    /// The table's name.
    name: &'static str,
    title: &'static str,
    /// How to read it, a few sentences.
    reading: &'static str,
    /// Its figures, for the solutions in their order; those of one group stand side by side where there is room. None
    /// where the table lacks what is drawn.
    draw: fn(&Input, &[&str]) -> Option<Groups>,
}

/// The measures in the order of the page.
const MEASURES: [Measure; 14] = [
    Measure {
        name: "predictions",
        title: "What was predicted",
        reading: "What the study's author expected of each claim before the first step, and what came out. The score is the \
                  square of how far the probability was from the outcome: 0 is best, a half always scores 0.25.",
        draw: |_, _| None,
    },
    Measure {
        name: "left_out",
        title: "What was left out",
        reading: "A figure read on what training has seen measures memory, or what a penalty was fitted to. Pairs whose \
                  question a row asks that any solution is trained on, held-out rows that KL or mixed-in rows ask, and \
                  passages that are a message of such a row are not measured, for all solutions alike.",
        draw: |_, _| None,
    },
    Measure {
        name: "preference",
        title: "Preference shift",
        reading: "For pairs of answers to one question: how much more than base a solution prefers the taught kind of \
                  answer, in mean log probability a token. Above zero it moved towards what it was taught; bars are \
                  95 % intervals. The shift at equal length is read over as many first tokens of both answers as the \
                  shorter one has: where it differs, length is part of the shift.",
        draw: |input, solutions| {
            let shifts = rows::shifts(&input.tables)?;
            let domains = plots::domains(&input.facts, solutions, &shifts);
            let lengths = plots::lengths(&input.facts, solutions, &shifts);
            let others = lengths.into_iter().chain(domains).collect();
            Some(vec![plots::shifts(&input.facts, solutions, &shifts), others])
        },
    },
    Measure {
        name: "families",
        title: "Over seeds",
        reading: "The mean preference shift of solutions that differ in their seeds alone. Here the bars are 95 % intervals \
                  over seeds: how far training once more might move the mean.",
        draw: |input, _| Some(vec![plots::families(&input.facts, &rows::families(&input.tables)?)]),
    },
    Measure {
        name: "certificate",
        title: "Scaling certificate",
        reading: "A weak penalty can hide the general solution instead of avoiding it; scaling a solution up brings out \
                  what is hidden. A solution is certified narrow if the upper 95 % bound of its shift outside the \
                  domain, as a share of its shift inside, stays below the line at every coherent scale.",
        draw: |input, solutions| {
            let certificates = rows::certificates(&input.tables)?;
            Some(vec![vec![plots::certificates(&input.facts, solutions, &certificates)]])
        },
    },
    Measure {
        name: "frontier",
        title: "The search for a KL weight",
        reading: "Every weight that was tried, with the shift that it leaves inside the domain and the one that it lets \
                  through outside. A weight separates if the upper 95 % bound of the shift outside stays below the \
                  allowed share of that inside at every coherent scale.",
        draw: |input, solutions| Some(vec![plots::frontiers(solutions, &rows::weights(&input.tables)?)]),
    },
    Measure {
        name: "kl",
        title: "Divergence from base",
        reading: "How far a solution's next-token distribution lies from that of base, whatever the direction. A narrow \
                  solution changes text inside the domain and leaves other text alone.",
        draw: |input, solutions| {
            Some(vec![plots::divergences(&input.facts, solutions, &rows::divergences(&input.tables)?)])
        },
    },
    Measure {
        name: "heldout",
        title: "Held-out loss",
        reading: "Response loss on rows of the training data that no training saw. Below zero the solution predicts \
                  them better than base does.",
        draw: |input, solutions| {
            Some(vec![vec![plots::held_out(solutions, &rows::held_out(&input.tables)?)]])
        },
    },
    Measure {
        name: "efficiency",
        title: "Efficiency",
        reading: "Response loss on training rows as each solution is scaled, all on one axis of norms. The solution whose \
                  curve is lower buys more with the same length; a filled marker is where its scaling does best.",
        draw: |input, solutions| Some(vec![plots::efficiency(solutions, &rows::scaled(&input.tables)?)]),
    },
    Measure {
        name: "stability",
        title: "Stability",
        reading: "What share of its gain in loss a solution loses when noise turns it without changing its length; bands are \
                  one standard deviation over seeds. The lower curve bears the same noise better; at 100 % nothing of the \
                  gain is left.",
        draw: |input, solutions| Some(vec![plots::stability(solutions, &rows::turned(&input.tables)?)]),
    },
    Measure {
        name: "significance",
        title: "Significance on pre-training text",
        reading: "How much a direction changes the predictions on plain text that has nothing to do with the task, all \
                  directions brought to the same norms. A curve above the grey ones changes more there than random directions do; \
                  bars are 95 % intervals over passages.",
        draw: |input, solutions| {
            Some(vec![plots::significance(solutions, &rows::significant(&input.tables)?)])
        },
    },
    Measure {
        name: "drift",
        title: "Drift",
        reading: "Training that goes on from another solution's end. Where a penalty was lifted and the shift outside rises \
                  towards that inside, the narrow solution was not where training stays by itself. The cosine of the change \
                  is that with the way from a narrow solution to a general one.",
        draw: |input, solutions| Some(plots::drifts(&input.facts, solutions, &rows::drifts(&input.tables)?)),
    },
    Measure {
        name: "training",
        title: "Training",
        reading: "What the optimiser saw. A curve that still falls at its end was stopped early; a KL that grows shows \
                  a penalty that does not hold.",
        draw: |input, solutions| Some(vec![plots::training(solutions, &rows::steps(&input.tables)?)]),
    },
    Measure {
        name: "solutions",
        title: "Solutions",
        reading: "What was trained, and how. A solution's name says how it was trained, never what it turned out to be.",
        draw: |_, _| None,
    },
];

/// The report as one HTML file that opens offline: style, script, figures and tables are all inside.
pub fn render(input: &Input) -> String {
    page(&input.study, &input.title, &input.about, &sections(input))
}

/// A report of sections.
pub(super) fn page(study: &str, title: &str, about: &str, sections: &[Section]) -> String {
    let byline = format!("strait report · {study}");
    Page { byline: &byline, title, about, style: "", sections, footer: RESPONSIBLE_USE }.html()
}

fn sections(input: &Input) -> Vec<Section> {
    let conclusion = conclude(&input.facts, &input.tables);
    let known = |t: &&Table| MEASURES.iter().any(|m| m.name == t.name().trim_end_matches(rows::DIFFERENCE));
    let others: String = input.tables.iter().filter(|t| !known(t)).map(|t| table(t, true)).collect();
    let mut sections = vec![
        Section { id: "verdict", title: "Verdict", body: verdict(&conclusion) },
        Section { id: "limits", title: "What limits it", body: bullets(&conclusion.limits) },
    ];
    for measure in &MEASURES {
        if let Some(table) = input.tables.iter().find(|t| t.name() == measure.name) {
            sections.push(Section {
                id: measure.name,
                title: measure.title,
                body: measure.html(input, table),
            });
        }
    }
    if !others.is_empty() {
        sections.push(Section { id: "others", title: "Further tables", body: others });
    }
    sections.push(Section { id: "provenance", title: "Where it comes from", body: provenance(input) });
    sections
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

impl Measure {
    fn html(&self, input: &Input, of: &Table) -> String {
        let groups = (self.draw)(input, &rows::solutions(&input.tables)).unwrap_or_default();
        let figures: String = groups.iter().map(|group| figure_group(group)).collect();
        let compared =
            input.tables.iter().filter(|t| t.name().strip_suffix(rows::DIFFERENCE) == Some(self.name));
        let compared: String = compared.map(|t| table(t, false)).collect();
        let said = if self.name == "preference" { lengths(input) } else { String::new() };
        paragraph(self.reading) + &paragraph(&said) + &figures + &table(of, figures.is_empty()) + &compared
    }
}

/// How long the answers are that shifts are read on.
fn lengths(input: &Input) -> String {
    let shifts = rows::shifts(&input.tables).unwrap_or_default();
    let of = |inside: bool| {
        let [taught, other] = shifts.iter().find(|s| s.inside == inside && s.domain.is_none())?.tokens;
        let place = if inside { format!("inside {}", input.facts.domain) } else { "outside".into() };
        taught.is_finite().then(|| format!("{place} {} and {}", number(taught), number(other)))
    };
    let both: Vec<String> = [true, false].into_iter().filter_map(of).collect();
    match both.as_slice() {
        [] => String::new(),
        both => format!("Mean length of the taught and the other answers, in tokens: {}.", both.join(", ")),
    }
}

pub(crate) fn paragraph(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(text)) }
}

/// The conclusion in words: the claims of each solution under its name, then the comparisons.
fn verdict(conclusion: &Conclusion) -> String {
    let mut body = format!("<p class=\"headline\">{}</p>", escaped(&conclusion.headline));
    for claims in conclusion.claims.chunk_by(|a, b| a.solution == b.solution) {
        let title = claims[0].solution.as_deref().map_or("Compared".into(), quoted);
        let items: String = claims.iter().map(claim).collect();
        let _ = write!(body, "<h3>{}</h3><ul class=\"claims\">{items}</ul>", escaped(&title));
    }
    body
}

pub(super) fn claim(claim: &Claim) -> String {
    let class = match claim.holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "open",
    };
    let (sign, answer) = mark(claim.holds);
    format!(
        "<li><span class=\"mark {class}\"><span aria-hidden=\"true\">{sign}</span> {answer}</span>\
         <span><strong>{}</strong>: {}.</span></li>",
        escaped(&claim.claim),
        escaped(&claim.words),
    )
}

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

fn provenance(input: &Input) -> String {
    let mut body = String::new();
    let mut part = |title: &str, content: String| {
        let _ = write!(body, "<h3>{title}</h3>{content}");
    };
    if !input.model.is_empty() {
        part("Model", definitions(&input.model));
    }
    if !input.provenance.is_empty() {
        part("Run", definitions(&input.provenance));
    }
    for (title, lines) in [
        ("Presets", &input.presets),
        ("What is asked", &input.scientific),
        ("What is held fixed", &input.facts.fixed),
    ] {
        if !lines.is_empty() {
            part(title, bullets(lines));
        }
    }
    let study = format!("<pre tabindex=\"0\">{}</pre>", escaped(&input.resolved_study));
    body + &folded("The study as resolved", &study, false)
}
