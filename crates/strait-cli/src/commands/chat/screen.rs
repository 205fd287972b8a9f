//! Answers on standard output, as they come.

use std::io::{self, Write};

use crate::text::{pad, printable, terminal_width, wrap};

/// Two answers stand side by side from this many columns of the terminal on.
const WIDE: usize = 100;
const SEPARATOR: &str = " │ ";
/// Moves the cursor to the start of the line and empties it.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// The tone of a piece of an answer, which a monitor's reading gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    High,
    Highest,
}

/// The answers to one question on standard output.
pub struct Screen<W> {
    out: W,
    columns: Vec<Column>,
    layout: Layout,
}

struct Column {
    name: &'static str,
    text: String,
    ended: bool,
}

enum Layout {
    /// Nothing is shown.
    Dark,
    /// One answer below the other.
    Stacked {
        /// The column that is shown as it comes; those before it are finished.
        column: usize,
        /// Bytes of its text that are shown; none before its heading.
        shown: Option<usize>,
    },
    /// Both answers at once.
    SideBySide {
        /// Width of each.
        width: usize,
        /// Rows that are finished; none before the headings.
        rows: Option<usize>,
    },
}

impl Screen<io::Stdout> {
    /// Shows nothing.
    pub fn dark() -> Self {
        Self { out: io::stdout(), columns: Vec::new(), layout: Layout::Dark }
    }

    /// Shows the answers of these columns: one below the other, or side by side where there are two and the terminal is
    /// wide and they come in one tone.
    pub fn on_standard_output(names: &[&'static str], toned: bool) -> Self {
        Self::new(io::stdout(), names, terminal_width().filter(|_| !toned))
    }
}

impl<W: Write> Screen<W> {
    fn new(out: W, names: &[&'static str], terminal: Option<usize>) -> Self {
        let layout = match terminal {
            // The terminal's last column stays free: some begin a line after a character there, some do not.
            Some(columns) if columns >= WIDE && names.len() == 2 => {
                Layout::SideBySide { width: (columns - 1 - SEPARATOR.chars().count()) / 2, rows: None }
            }
            _ => Layout::Stacked { column: 0, shown: None },
        };
        let column = |&name| Column { name, text: String::new(), ended: false };
        Self { out, columns: names.iter().map(column).collect(), layout }
    }

    /// Shows a question.
    pub fn question(&mut self, question: &str) -> io::Result<()> {
        match self.layout {
            Layout::Dark => Ok(()),
            _ => writeln!(self.out, "> {}", printable(question)),
        }
    }

    /// A piece of a column's answer came. Its tone is seen where standard output is a terminal with colours.
    pub fn add(&mut self, column: usize, text: &str, tone: Tone) -> io::Result<()> {
        if let Some(column) = self.columns.get_mut(column) {
            let text = console::style(printable(text));
            let text = match tone {
                Tone::Plain => text,
                Tone::High => text.yellow(),
                Tone::Highest => text.red().bold(),
            };
            column.text.push_str(&text.to_string());
        }
        self.draw()
    }

    /// A line below the answers.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        match self.layout {
            Layout::Dark => Ok(()),
            _ => writeln!(self.out, "{}", printable(text)),
        }
    }

    /// A column's answer came to its end.
    pub fn end(&mut self, column: usize) -> io::Result<()> {
        if let Some(column) = self.columns.get_mut(column) {
            column.ended = true;
        }
        self.draw()
    }

    fn draw(&mut self) -> io::Result<()> {
        match self.layout {
            Layout::Dark => return Ok(()),
            Layout::Stacked { column, shown } => self.draw_stacked(column, shown)?,
            Layout::SideBySide { width, rows } => self.draw_rows(width, rows)?,
        }
        self.out.flush()
    }

    /// Goes on with the answer at hand, and past its end with the next.
    fn draw_stacked(&mut self, first: usize, mut shown: Option<usize>) -> io::Result<()> {
        for (index, column) in self.columns.iter().enumerate().skip(first) {
            if shown.is_none() && self.columns.len() > 1 {
                writeln!(self.out, "{}:", column.name)?;
            }
            self.out.write_all(&column.text.as_bytes()[shown.unwrap_or(0)..])?;
            if !column.ended {
                self.layout = Layout::Stacked { column: index, shown: Some(column.text.len()) };
                return Ok(());
            }
            writeln!(self.out, "\n")?;
            shown = None;
        }
        self.layout = Layout::Stacked { column: self.columns.len(), shown };
        Ok(())
    }

    /// Finishes the rows that no further text changes, then draws the next as far as it is known.
    fn draw_rows(&mut self, width: usize, rows: Option<usize>) -> io::Result<()> {
        let lines: Vec<Vec<String>> = self.columns.iter().map(|column| wrap(&column.text, width)).collect();
        let row = |row: usize| {
            let cells = lines.iter().map(|lines| pad(lines.get(row).map_or("", String::as_str), width));
            cells.collect::<Vec<_>>().join(SEPARATOR).trim_end().to_string()
        };
        // A line is settled once the one after it has begun.
        let settled = |row: usize| {
            let of_column = |(column, lines): (&Column, &Vec<String>)| column.ended || row + 1 < lines.len();
            self.columns.iter().zip(&lines).all(of_column)
        };
        let mut next = match rows {
            Some(rows) => rows,
            None => {
                let names = self.columns.iter().map(|column| pad(column.name, width)).collect::<Vec<_>>();
                writeln!(self.out, "{}", names.join(SEPARATOR).trim_end())?;
                0
            }
        };
        let last = lines.iter().map(Vec::len).max().unwrap_or(0);
        let mut drawn = String::from(CLEAR_LINE);
        while next < last && settled(next) {
            drawn.push_str(&row(next));
            drawn.push('\n');
            next += 1;
        }
        if next < last {
            drawn.push_str(&row(next));
        } else if self.columns.iter().all(|column| column.ended) {
            drawn.push('\n');
        }
        self.layout = Layout::SideBySide { width, rows: Some(next) };
        self.out.write_all(drawn.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["base", "edited"];

    /// The text seen in the end of pieces that come in this order; `None` ends a column.
    fn seen(names: &[&'static str], terminal: Option<usize>, pieces: &[(usize, Option<&str>)]) -> String {
        let mut screen = Screen::new(Vec::new(), names, terminal);
        for &(column, piece) in pieces {
            match piece {
                Some(text) => screen.add(column, text, Tone::Plain).unwrap(),
                None => screen.end(column).unwrap(),
            }
        }
        let written = String::from_utf8(screen.out).unwrap();
        // Of a line drawn again and again the last drawing stays.
        let last = |line: &str| line.rsplit(CLEAR_LINE).next().unwrap_or_default().to_string();
        written.lines().map(last).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_answer_has_no_heading() {
        assert_eq!(
            seen(&NAMES[..1], Some(200), &[(0, Some("A ")), (0, Some("car.")), (0, None)]),
            "A car.\n"
        );
    }

    #[test]
    fn answers_below_each_other_wait_for_each_other() {
        let pieces = [
            (1, Some("Tor")),
            (0, Some("A ")),
            (1, Some("que.")),
            (1, None),
            (0, Some("car.\u{1b}[2J")),
            (0, None),
        ];
        assert_eq!(seen(&NAMES, None, &pieces), "base:\nA car.\\u{1b}[2J\n\nedited:\nTorque.\n");
        assert_eq!(seen(&NAMES, Some(99), &pieces), seen(&NAMES, None, &pieces));
    }

    #[test]
    fn answers_side_by_side_grow_together() {
        let base = "A short answer.";
        let edited = "An answer in dense technical prose that needs more than one line of its column,\nand a new paragraph.";
        let mut pieces = vec![(0, Some(base)), (0, None)];
        pieces.extend(edited.split_inclusive(' ').map(|word| (1, Some(word))));
        pieces.push((1, None));
        let gap = " ".repeat(48);
        let expected = [
            format!("{} │ edited", pad("base", 48)),
            format!("{} │ An answer in dense technical prose that needs", pad(base, 48)),
            format!("{gap} │ more than one line of its column,"),
            format!("{gap} │ and a new paragraph."),
        ];
        assert_eq!(seen(&NAMES, Some(100), &pieces), expected.join("\n") + "\n");
        pieces.sort_by_key(|&(column, _)| column == 0);
        assert_eq!(seen(&NAMES, Some(100), &pieces), expected.join("\n") + "\n");
    }
}
