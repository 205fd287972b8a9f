//! Text on a terminal: what may be shown, wrapping, and tables.

use std::{fmt, path::Path};

use console::measure_text_width;

/// Running text as it may be shown: nothing read from a file or sampled from a model moves the cursor, hides a line or
/// turns the order of letters. What would is written as an escape; line breaks stay.
pub fn printable(text: &str) -> String {
    escaped(text, |c| match c {
        '\n' => false,
        // Scripts and emoji need them.
        '\u{200c}' | '\u{200d}' | '\u{200e}' | '\u{200f}' => false,
        c => is_hidden(c),
    })
}

/// A name, or a message that may quote one, in one line: as [`printable`], with line breaks and what cannot be seen escaped
/// too, and with its middle left out where it is very long.
pub fn line(text: &str) -> String {
    let characters = text.chars().count();
    if characters <= LONGEST {
        return escaped(text, is_hidden);
    }
    let half = LONGEST / 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(characters - half).collect();
    format!("{}…{}", escaped(&begin, is_hidden), escaped(&end, is_hidden))
}

/// A path as a [`line`].
pub fn path(path: &Path) -> String {
    line(&path.to_string_lossy())
}

/// The most characters of a line; the longest paths have about as many.
const LONGEST: usize = 4096;

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if hidden(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// True if a character is seen by what it does alone: controls, what turns the direction of writing, what has no width.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns of the terminal that standard output goes to; none where it goes elsewhere.
pub fn terminal_width() -> Option<usize> {
    let terminal = console::Term::stdout();
    terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, columns)| columns.into())
}

/// Breaks text into lines of at most `width` columns, at spaces where it can. Once a further line has begun, the lines
/// before it stay as they are when the text grows.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    text.split('\n').flat_map(|paragraph| wrap_paragraph(paragraph, width.max(1))).collect()
}

fn wrap_paragraph(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = width;
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches(' ');
        if measure_text_width(bare) > room && room < width {
            lines.push(String::new());
            room = width;
        }
        for c in word.chars() {
            let columns = measure_text_width(c.encode_utf8(&mut [0; 4]));
            if columns > room {
                if c == ' ' {
                    continue;
                }
                lines.push(String::new());
                room = width;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            room = room.saturating_sub(columns);
        }
    }
    lines
}

/// The text with spaces up to `width` columns.
pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// A heading and the side to which its column leans.
#[derive(Clone, Copy)]
pub enum Heading {
    /// For words.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

impl Heading {
    fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }
}

/// Between two columns of a table.
const GAP: &str = "  ";
/// A column of words is wrapped to no less than this.
const NARROWEST: usize = 20;

/// Aligned columns. Where standard output is a terminal, words are wrapped so that the lines fit.
pub struct Columns {
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
    terminal: Option<usize>,
}

impl Columns {
    /// Columns under these headings; where all are empty, no line of headings is shown.
    pub fn new(headings: impl Into<Vec<Heading>>) -> Self {
        Self { headings: headings.into(), rows: Vec::new(), terminal: terminal_width() }
    }

    /// Names and values.
    pub fn facts() -> Self {
        Self::new([Heading::Left(""), Heading::Left("")])
    }

    /// Adds a line, one cell a column.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headings.len());
        self.rows.push(cells.map(|cell| line(&cell)).into());
    }

    /// Adds a name and its value to [`facts`](Self::facts).
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.row([name.into(), value.to_string()]);
    }

    /// The columns' widths: those of their widest cells, or less where the terminal asks for it.
    fn widths(&self) -> Vec<usize> {
        let of_column = |(column, heading): (usize, &Heading)| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell));
            cells.max().unwrap_or(0).max(measure_text_width(heading.title()))
        };
        let mut widths: Vec<usize> = self.headings.iter().enumerate().map(of_column).collect();
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let room = self.terminal.map_or(usize::MAX, |columns| columns.saturating_sub(gaps));
        while widths.iter().sum::<usize>() > room {
            let words = widths
                .iter_mut()
                .zip(&self.headings)
                .filter(|(_, heading)| matches!(heading, Heading::Left(_)));
            match words.map(|(width, _)| width).max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }

    /// A row as lines: as many as its tallest cell has.
    fn write_row(
        &self,
        f: &mut fmt::Formatter<'_>,
        widths: &[usize],
        cells: &[impl AsRef<str>],
    ) -> fmt::Result {
        let wrapped: Vec<Vec<String>> =
            cells.iter().zip(widths).map(|(cell, &width)| wrap(cell.as_ref(), width)).collect();
        for line in 0..wrapped.iter().map(Vec::len).max().unwrap_or(0) {
            let part = |((lines, &width), heading): ((&Vec<String>, &usize), &Heading)| {
                let text = lines.get(line).map_or("", |text| text.trim_end());
                match heading {
                    Heading::Left(_) => pad(text, width),
                    Heading::Right(_) => {
                        format!("{}{text}", " ".repeat(width.saturating_sub(measure_text_width(text))))
                    }
                }
            };
            let parts: Vec<String> = wrapped.iter().zip(widths).zip(&self.headings).map(part).collect();
            writeln!(f, "{}", parts.join(GAP).trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let titles: Vec<&str> = self.headings.iter().map(|heading| heading.title()).collect();
        if titles.iter().any(|title| !title.is_empty()) {
            self.write_row(f, &widths, &titles)?;
        }
        self.rows.iter().try_for_each(|row| self.write_row(f, &widths, row))
    }
}

#[cfg(test)]
mod tests {
    use super::{Heading::*, *};

    #[track_caller]
    fn check(text: &str, width: usize, expected: &[&str]) {
        let lines: Vec<_> = wrap(text, width).iter().map(|line| line.trim_end().to_string()).collect();
        assert_eq!(lines, expected);
        assert!(wrap(text, width).iter().all(|line| measure_text_width(line) <= width));
    }

    #[test]
    fn lines_break_at_spaces_where_they_can() {
        check("", 5, &[""]);
        check("one two three", 7, &["one two", "three"]);
        check("one two three", 8, &["one two", "three"]);
        check("one\n\ntwo", 8, &["one", "", "two"]);
        check("a incomprehensible b", 6, &["a", "incomp", "rehens", "ible b"]);
        check("日本語のテキスト", 6, &["日本語", "のテキ", "スト"]);
    }

    #[test]
    fn earlier_lines_stay_when_text_grows() {
        let text =
            "the carburettor meters fuel by venturi depression;\nantidisestablishmentarianism follows it";
        for width in [1, 3, 8, 13] {
            let mut before: Vec<String> = Vec::new();
            for end in text.char_indices().map(|(i, c)| i + c.len_utf8()) {
                let now = wrap(&text[..end], width);
                let whole = before.len().saturating_sub(1);
                assert_eq!(before[..whole], now[..whole], "width {width}, after {:?}", &text[..end]);
                before = now;
            }
        }
    }

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        assert_eq!(
            printable("a\u{1b}[2Jb\tc\nd\r"),
            r"a\u{1b}[2Jb c
d\r"
        );
        // What is written with joiners and marks stays legible in text; in a name it may be there to deceive.
        let family = "👩\u{200d}👧 \u{200f}שלום";
        assert_eq!(printable(family), family);
        assert_eq!(line(family), r"👩\u{200d}👧 \u{200f}שלום");
        assert_eq!(line("a\nb\tc"), r"a\nb c");
        for hidden in
            ['\0', '\u{7f}', '\u{85}', '\u{9b}', '\u{ad}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}']
        {
            let text = format!("a{hidden}b");
            assert_eq!(line(&text), format!("a{}b", hidden.escape_default()));
            assert_eq!(line(&text), printable(&text));
        }
    }

    #[test]
    fn very_long_lines_lose_their_middle() {
        let longest = "é".repeat(LONGEST);
        assert_eq!(line(&longest), longest);
        let shown = line(&format!("begin{longest}end"));
        assert!(shown.starts_with("begin") && shown.ends_with("end") && shown.contains("é…é"));
        assert_eq!(shown.chars().count(), LONGEST + 1);
    }

    #[test]
    fn columns_are_aligned_and_words_wrapped() {
        let mut table = Columns::new([Left("name"), Right("value"), Left("words")]);
        table.terminal = Some(50);
        table.row(["zero edit".into(), "0".into(), "logits stay the same to the last bit of all".into()]);
        table.row(["an estimate of a größer difference".into(), "12.5".into(), String::new()]);
        let lines = [
            "name                   value  words",
            "zero edit                  0  logits stay the same",
            "                              to the last bit of",
            "                              all",
            "an estimate of a        12.5",
            "größer difference",
            "",
        ];
        assert_eq!(table.to_string(), lines.join("\n"));
        table.terminal = None;
        assert_eq!(table.to_string().lines().count(), 3);
    }
}
