//! Parts of HTML. Text becomes HTML by `html!` alone, which escapes it.

use std::fmt::Write;

use maud::{Markup, html};

use super::numbers::number;
use crate::{Table, table::Column};

/// Rows that a table shows; its file has all of them.
const MOST_ROWS: usize = 300;

/// A paragraph; nothing for no text.
pub(crate) fn paragraph(text: &str) -> Markup {
    html! { @if !text.is_empty() { p { (text) } } }
}

/// A list of names and their values.
pub(crate) fn definitions<N: AsRef<str>>(pairs: &[(N, String)]) -> Markup {
    html! { dl { @for (name, value) in pairs { div { dt { (name.as_ref()) } dd { (value) } } } } }
}

/// A bulleted list.
pub(crate) fn bullets(lines: &[String]) -> Markup {
    html! { ul { @for line in lines { li { (line) } } } }
}

/// Text as it is, in a box that scrolls.
pub(crate) fn verbatim(text: &str) -> Markup {
    html! { pre tabindex="0" { (text) } }
}

/// A part that can be opened and closed, by mouse or key.
pub(crate) fn folded(summary: &str, body: &Markup, open: bool) -> Markup {
    html! { details open[open] { summary { (summary) } (body) } }
}

/// A box of its own that scrolls, with a name for those who do not see it.
pub(crate) fn scrolled(name: &str, body: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(name) tabindex="0" { (body) } }
}

/// A table that can be folded, with a link that saves it as CSV.
pub(crate) fn table(table: &Table, open: bool) -> Markup {
    let (name, rows) = (table.name(), table.rows());
    let file = format!("{name}.csv");
    let shown = html! {
        table {
            caption { (table.about()) }
            thead { tr {
                @for (column, unit, values) in table.columns() {
                    th scope="col" class=[class(values)] {
                        (heading(column)) @if !unit.is_empty() { small { (unit) } }
                    }
                }
            } }
            tbody {
                @for row in 0..rows.min(MOST_ROWS) {
                    tr {
                        @for (place, (_, _, values)) in table.columns().enumerate() {
                            @if place == 0 { th scope="row" class=[class(values)] { (cell(values, row)) } }
                            @else { td class=[class(values)] { (cell(values, row)) } }
                        }
                    }
                }
            }
        }
    };
    let body = html! {
        p {
            a download=(file) href={ "data:text/csv;charset=utf-8," (percent_encoded(&table.to_csv())) } {
                "Save as " (file)
            }
            @if rows > MOST_ROWS { " The first " (MOST_ROWS) " of " (rows) " rows are shown; the file has all." }
        }
        (scrolled(&format!("Table {name}"), &shown))
    };
    let count = if rows == 1 { "1 row".into() } else { format!("{rows} rows") };
    folded(&format!("Table “{name}”, {count}"), &body, open)
}

/// A column's name in words.
fn heading(column: &str) -> String {
    column.replace('_', " ")
}

/// Numbers stand to the right.
fn class(values: &Column) -> Option<&'static str> {
    matches!(values, Column::Integer(_) | Column::Real(_)).then_some("number")
}

fn cell(values: &Column, row: usize) -> String {
    match values {
        Column::Text(values) => values[row].clone(),
        Column::Integer(values) => values[row].to_string(),
        Column::Real(values) => number(values[row]),
        Column::Truth(values) => answer(values[row]).into(),
    }
}

/// An answer in words.
pub(crate) fn answer(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "cannot be told",
    }
}

/// The sign of an answer.
pub(crate) fn sign(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "?",
    }
}

/// Words with the sign and colour of an answer; the words carry the meaning.
pub(crate) fn marked(holds: Option<bool>, words: &str) -> Markup {
    let class = match holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "open",
    };
    html! { span class={ "mark " (class) } { span aria-hidden="true" { (sign(holds)) } " " (words) } }
}

/// Text as it may stand in a URI.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => {
                out.push(byte.into())
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let hostile =
            Table::new("a\"b", "<script>").with_column("<th>", "<u>", Column::Text(vec!["<td>".into()]));
        let html = table(&hostile, true).into_string();
        for raw in ["a\"b", "<script>", "<th>", "<u>", "<td><"] {
            assert!(!html.contains(raw), "{raw} in {html}");
        }
    }

    #[test]
    fn a_long_table_is_cut_on_the_page_and_whole_in_its_file() {
        let long = Table::new("long", "").with_column("n", "", Column::Integer((0..1000).collect()));
        let html = table(&long, false).into_string();
        assert_eq!(html.matches("<tr>").count(), 1 + MOST_ROWS);
        assert!(html.contains("The first 300 of 1000 rows"));
        assert!(html.contains("%0A999%0A"));
    }
}
