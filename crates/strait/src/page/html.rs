//! Pieces of HTML. What comes from outside passes through [`escaped`] here or in the page, and nowhere else.

use std::fmt::Write;

use super::numbers::number;
use crate::{Table, table::Column};

/// Rows that a table shows; its file has all of them.
const MOST_ROWS: usize = 300;

/// Text as it may stand between tags and in quoted attributes, without control characters.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Whoever looks at the file itself should see no more of them than a browser shows.
            c if c.is_control() && !c.is_whitespace() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

/// A list of names and their values.
pub(crate) fn definitions(pairs: &[(String, String)]) -> String {
    let mut out = String::from("<dl>");
    for (name, value) in pairs {
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(value));
    }
    out + "</dl>"
}

/// A bulleted list.
pub(crate) fn bullets(lines: &[String]) -> String {
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", escaped(line))).collect();
    format!("<ul>{items}</ul>")
}

/// Something to be opened and closed, by mouse or key. `body` is HTML.
pub(crate) fn folded(summary: &str, body: &str, open: bool) -> String {
    let open = if open { " open" } else { "" };
    format!("<details{open}><summary>{}</summary>{body}</details>", escaped(summary))
}

/// A table that can be folded, with a link that saves it as CSV.
pub(crate) fn table(table: &Table, open: bool) -> String {
    let rows = table.rows();
    let name = escaped(table.name());
    let mut head = String::new();
    for (column, unit, values) in table.columns() {
        let unit = if unit.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(unit)) };
        let _ = write!(head, "<th scope=\"col\"{}>{}{unit}</th>", class(values), escaped(&heading(column)));
    }
    let mut body = String::new();
    for row in 0..rows.min(MOST_ROWS) {
        body.push_str("<tr>");
        for (place, (_, _, values)) in table.columns().enumerate() {
            let (tag, scope) = if place == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            let _ = write!(body, "<{tag}{scope}{}>{}</{tag}>", class(values), escaped(&cell(values, row)));
        }
        body.push_str("</tr>");
    }
    let cut = match rows > MOST_ROWS {
        true => format!(" The first {MOST_ROWS} of {rows} rows are shown; the file has all."),
        false => String::new(),
    };
    let body = format!(
        "<p><a download=\"{name}.csv\" href=\"data:text/csv;charset=utf-8,{}\">Save as {name}.csv</a>{cut}</p>\
         <div class=\"scroll\" role=\"region\" aria-label=\"Table {name}\" tabindex=\"0\">\
         <table><caption>{}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        percent_encoded(&table.to_csv()),
        escaped(table.about()),
    );
    let count = if rows == 1 { "1 row".into() } else { format!("{rows} rows") };
    folded(&format!("Table “{}”, {count}", table.name()), &body, open)
}

/// A column's name in words.
fn heading(column: &str) -> String {
    column.replace('_', " ")
}

/// Numbers stand to the right.
fn class(values: &Column) -> &'static str {
    match values {
        Column::Integer(_) | Column::Real(_) => " class=\"number\"",
        Column::Text(_) | Column::Truth(_) => "",
    }
}

fn cell(values: &Column, row: usize) -> String {
    match values {
        Column::Text(values) => values[row].clone(),
        Column::Integer(values) => values[row].to_string(),
        Column::Real(values) => number(values[row]),
        Column::Truth(values) => mark(values[row]).1.into(),
    }
}

/// A sign and words for an answer; the words carry the meaning.
pub(crate) fn mark(holds: Option<bool>) -> (&'static str, &'static str) {
    match holds {
        Some(true) => ("✓", "yes"),
        Some(false) => ("✗", "no"),
        None => ("?", "cannot be told"),
    }
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
        assert_eq!(escaped("<b a=\"1\" c='2'>&"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
        let hostile =
            Table::new("a\"b", "<script>").with_column("<th>", "<u>", Column::Text(vec!["<td>".into()]));
        let html = table(&hostile, true);
        for raw in ["a\"b", "<script>", "<th>", "<u>", "<td><"] {
            assert!(!html.contains(raw), "{raw} in {html}");
        }
    }

    #[test]
    fn a_long_table_is_cut_on_the_page_and_whole_in_its_file() {
        let long = Table::new("long", "").with_column("n", "", Column::Integer((0..1000).collect()));
        let html = table(&long, false);
        assert_eq!(html.matches("<tr>").count(), 1 + MOST_ROWS);
        assert!(html.contains("The first 300 of 1000 rows"));
        assert!(html.contains("%0A999%0A"));
    }
}
