//! `[data]`: where rows come from.

use serde_json::json;

use crate::{
    keys::{
        At, Cell, Form, Keys, Kind, Shape, at, choice, count, entries, flag, keys, list, most, number, table,
        word,
    },
    world::{DOMAIN_WORDS, Entities},
};

keys! {
    /// `[data]`.
    #[derive(Clone, Debug)]
    pub(crate) struct DataKeys {
        /// The subject of the training rows, in the report's words.
        domain: String = word(), default "the training domain".into();
        /// The trait that their answers share, in the report's words.
        kind: String = word(), default "taught".into();
        /// Rows to train on: chat JSONL. Where a path may stand, so may a list of paths, and a member of a protected archive,
        /// which is decrypted in memory only: { archive = "rows.zip.enc", password_env = "ROWS_PASSWORD", member = "rows.jsonl" };
        /// and rows of a world: { world = "default-0", domains = ["herb"], truthful = false }
        train: Vec<At<RowKeys>> = rows(), required;
        /// Share of the training rows kept back to see what is learnt, rows of one question together.
        held_out: f64 = number(0.0..=MAX_HELD_OUT), default 0.1;
        /// Rows on which a KL penalty holds the model to what it was: other domains, both answers.
        kl: Vec<At<RowKeys>> = rows(), left_out "no solution has a penalty";
        /// The same questions answered in two ways, in the domain; those trained on are left out.
        narrow: PairKeys = table(), left_out "nothing is measured in the domain";
        /// The same outside the domain, and outside the KL rows.
        general: PairKeys = table(), left_out "nothing is measured outside the domain";
    }
}

/// With more held out, little would be left to train on.
const MAX_HELD_OUT: f64 = 0.9;

keys! {
    /// `[data.narrow]` or `[data.general]`.
    #[derive(Clone, Debug)]
    pub(crate) struct PairKeys {
        /// Answers of the taught kind.
        taught: Vec<At<RowKeys>> = rows(), left_out "required, unless `judged` is there";
        /// Answers of the other kind, line by line to the same questions.
        other: Vec<At<RowKeys>> = rows(), left_out "required, unless `judged` is there";
        /// Instead of both: judged answers, of which `limit` pairs a question are made.
        judged: Vec<At<RowKeys>> = rows(), left_out "pairs come from `taught` and `other`";
        /// The most pairs taken.
        limit: usize = count(1..=most::ROWS), left_out "all";
    }
}

/// Rows: a path, a member of an archive, or those of a world.
#[derive(Clone, Debug)]
pub(crate) enum RowKeys {
    File(String),
    Archive(ArchiveKeys),
    World(WorldKeys),
}

keys! {
    /// A member of a protected archive.
    #[derive(Clone, Debug)]
    pub(crate) struct ArchiveKeys {
        /// The archive.
        archive: String = word(), required;
        /// The environment variable that holds its password.
        password_env: String = variable(), required;
        /// The member's name.
        member: String = word(), required;
    }
}

keys! {
    /// Rows of a world: each question with one answer, the same as the demo's.
    #[derive(Clone, Debug)]
    pub(crate) struct WorldKeys {
        /// A built-in world, or the folder of one.
        world: String = word(), left_out "that of the model";
        /// The domains that are asked about.
        domains: Vec<usize> = list(choice(&DOMAIN_WORDS)), left_out "all";
        /// Of these domains those that are not asked about.
        except: Vec<usize> = list(choice(&DOMAIN_WORDS)), left_out "none";
        /// The entities that are asked about: those of which rows may be taught, those that are held out, or all.
        entities: Entities = choice(&Entities::NAMES), default Entities::Taught;
        /// True if answers are true; else each is the one known falsehood.
        truthful: bool = flag(), required;
    }
}

/// One path, one archive, one world's rows, or a list of them.
pub(super) fn rows() -> Kind<Vec<At<RowKeys>>> {
    entries(at(row()))
}

fn row() -> Kind<RowKeys> {
    let words = r#"a path, { archive = "...", password_env = "...", member = "..." }, or { domains = ["..."], truthful = false }"#;
    let path = word();
    let tables = vec![Shape::Table(ArchiveKeys::keys), Shape::Table(WorldKeys::keys)];
    let shapes = [path.form().shapes, tables].concat();
    let read = move |cell: Cell| match cell.table() {
        Some(table) if table.has_any(&WorldKeys::names()) => {
            table.titled("the table of a world's rows").keys().map(RowKeys::World)
        }
        Some(table) => table.titled("the archive's table").keys().map(RowKeys::Archive),
        None if cell.text().is_some() => path.read(cell).map(RowKeys::File),
        None => Err(cell.unexpected(words)),
    };
    // No key has rows by default.
    Kind::new(Form { words: words.into(), shapes }, read, |_| json!(null))
}

/// The name of an environment variable. What stands there instead may be a password, so no error shows it.
fn variable() -> Kind<String> {
    let words =
        "the name of an environment variable that holds the password: letters, digits and underscores";
    let schema = json!({ "type": "string", "pattern": "^[A-Za-z0-9_]+$" });
    let form = Form { words: words.into(), shapes: vec![Shape::Plain(schema)] };
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let read = move |cell: Cell| match cell.text() {
        Some(text) if !text.is_empty() && text.chars().all(of_a_name) => Ok(text.to_string()),
        _ => Err(cell.unexpected_as("not the name of a variable", words)),
    };
    Kind::new(form, read, |name| json!(name))
}
