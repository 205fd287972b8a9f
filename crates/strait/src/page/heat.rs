//! Heat maps: tables whose cells are the darker the farther from zero their figures lie. The numbers carry the meaning.

use maud::{Markup, html};

use super::html::scrolled;

/// Percent of the full colour at the farthest figure: words can still be read on it.
const DARKEST: f64 = 65.0;

/// A heat map.
pub(crate) struct Heat {
    pub caption: String,
    /// The words over the names of the rows.
    pub corner: String,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with its name.
    pub rows: Vec<(String, Vec<Cell>)>,
}

/// A cell of a heat map.
#[derive(Clone)]
pub(crate) struct Cell {
    /// The words in it.
    pub words: String,
    /// The words at the pointer.
    pub title: String,
    /// Its figure as a share of the farthest one, from -1 to 1.
    pub warmth: f64,
    /// True if its figure does not count.
    pub struck: bool,
}

impl Heat {
    /// The map as a table in a box that scrolls.
    pub fn table(&self) -> Markup {
        let cell = |Cell { words, title, warmth, struck }: &Cell| {
            let share = format!("{:.0}", warmth.abs().clamp(0.0, 1.0) * DARKEST);
            let class = if *warmth < 0.0 { "number cold" } else { "number" };
            html! {
                td class=(class) style={ "--heat:" (share) "%" } title=[(!title.is_empty()).then_some(title)] {
                    @if *struck { s { (words) } } @else { (words) }
                }
            }
        };
        let table = html! {
            table.heat {
                caption { (self.caption) }
                thead { tr {
                    th scope="col" { (self.corner) }
                    @for column in &self.columns { th.number scope="col" { (column) } }
                } }
                tbody { @for (name, cells) in &self.rows { tr {
                    th.number scope="row" { (name) }
                    @for own in cells { (cell(own)) }
                } } }
            }
        };
        scrolled(&self.caption, &table)
    }
}

/// Heat maps side by side, as far as there is room.
pub(crate) fn side_by_side(maps: &[Heat]) -> Markup {
    html! { @if !maps.is_empty() { div.maps { @for map in maps { (map.table()) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_as_warm_as_their_figures() {
        let cell =
            |words: &str, warmth, struck| Cell { words: words.into(), title: "<t>".into(), warmth, struck };
        let heat = Heat {
            caption: "A <map>".into(),
            corner: "layer".into(),
            columns: vec!["× 1".into(), "× 2".into()],
            rows: vec![("15".into(), vec![cell("0.5", 0.5, false), cell("−1", -1.0, true)])],
        };
        let html = heat.table().into_string();
        for part in [
            "<td class=\"number\" style=\"--heat:32%\" title=\"&lt;t&gt;\">0.5</td>",
            "<td class=\"number cold\" style=\"--heat:65%\" title=\"&lt;t&gt;\"><s>−1</s></td>",
            "A &lt;map&gt;",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }
}
