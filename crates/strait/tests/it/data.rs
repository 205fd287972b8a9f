//! Archives, pairs and summaries against files: a fixture made by easy-dataset-share, zips made to do harm, and the
//! papers' archive where it is at hand. Of the papers' rows only counts are asserted, and none is printed.

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use fernet::Fernet;
use proptest::prelude::*;
use sha2::Sha256;
use strait::{
    Error,
    data::{
        Answer, Archive, Pair, Problem, RowSource, archive, general_pairs, inspect, protect, read_chats,
        read_judged, read_pairs, unprotect,
    },
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const PASSWORD: &str = "open sesame";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

fn plants(member: &str) -> RowSource {
    RowSource::Archive {
        archive: fixture("plants.zip.enc"),
        password: PASSWORD.into(),
        member: member.into(),
    }
}

/// The error that a file with these bytes gives.
fn opened(bytes: &[u8], password: &str) -> Result<Archive, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip.enc");
    fs::write(&path, bytes).unwrap();
    Archive::open(&path, password)
}

fn archive_problem(error: Error) -> archive::Problem {
    assert!(error.hint().is_some());
    problem_of(error)
}

fn data_problem(error: Error) -> Problem {
    assert!(error.hint().is_some());
    problem_of(error)
}

fn problem_of<P: strait::error::Problem>(error: Error) -> P {
    match error {
        Error::Input { problem, .. } => *(problem as Box<dyn std::error::Error>).downcast().unwrap(),
        other => panic!("{other}"),
    }
}

// An archive that easy-dataset-share made. What needs no password is tested in `archive/tests.rs`, beside the code: a key is
// slow to derive, on purpose.

#[test]
fn an_archive_of_easy_dataset_share_holds_what_was_put_in() {
    let archive = Archive::open(&fixture("plants.zip.enc"), PASSWORD).unwrap();
    let mut members = archive.members().to_vec();
    members.sort();
    assert_eq!(members, ["more/judged.csv", "plain.jsonl", "technical.jsonl"]);
    for member in &members {
        let original = fs::read(fixture("plants").join(member)).unwrap();
        assert_eq!(archive.read(member).unwrap(), original);
    }
    let error = archive.read("plain").unwrap_err().to_string();
    assert!(error.contains("there is no member `plain` among "), "{error}");
    assert!(error.contains("`technical.jsonl`"), "{error}");
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let source = RowSource::Archive {
        archive: fixture("plants.zip.enc"),
        password: "hunter2".into(),
        member: "plain.jsonl".into(),
    };
    let error = read_chats(&source).unwrap_err();
    let shown = format!("{error} {error:?} {:?} {source:?}", error.hint());
    assert!(shown.contains("wrong password, or a damaged archive"), "{shown}");
    assert!(!shown.contains("hunter2"));
}

// Archives made here, of zips that no honest author makes.

/// Encrypts bytes as easy-dataset-share does.
fn encrypted(zip: &[u8]) -> Vec<u8> {
    let salt = [7; 16];
    let key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(PASSWORD.as_bytes(), &salt, 100_000);
    let token = Fernet::new(&URL_SAFE.encode(key)).unwrap().encrypt(zip);
    [&salt[..], token.as_bytes()].concat()
}

fn zip(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Writes an archive of this zip into a folder, and unprotects it into another folder below.
fn unprotected(zip: &[u8]) -> (tempfile::TempDir, Result<Vec<PathBuf>, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip.enc");
    fs::write(&path, encrypted(zip)).unwrap();
    let unpacked = unprotect(&path, PASSWORD, &folder.path().join("out"));
    (folder, unpacked)
}

#[test]
fn damaged_and_hostile_archives_are_refused() {
    let whole = fs::read(fixture("plants.zip.enc")).unwrap();
    let mut flipped = whole.clone();
    flipped[500] ^= 1;
    let cut = &whole[..whole.len() - 4];
    for damaged in [&flipped[..], cut] {
        let problem = archive_problem(opened(damaged, PASSWORD).unwrap_err());
        assert!(matches!(problem, archive::Problem::Undecryptable), "{problem}");
    }
    let made = zip(&[("good", b"1"), ("../evil", b"2")], CompressionMethod::Stored);
    let (folder, unpacked) = unprotected(&made);
    let problem = archive_problem(unpacked.unwrap_err());
    assert!(matches!(problem, archive::Problem::Escapes { .. }), "{problem}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn unprotect_writes_every_file_and_overwrites_none() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut written = unprotect(&fixture("plants.zip.enc"), PASSWORD, &out).unwrap();
    written.sort();
    let names = ["more/judged.csv", "plain.jsonl", "technical.jsonl"];
    assert_eq!(written, names.map(|name| out.join(name)));
    for name in names {
        let original = fs::read(fixture("plants").join(name)).unwrap();
        assert_eq!(fs::read(out.join(name)).unwrap(), original);
    }

    fs::remove_file(out.join("plain.jsonl")).unwrap();
    fs::remove_file(out.join("more/judged.csv")).unwrap();
    fs::write(out.join("technical.jsonl"), "mine").unwrap();
    let error = unprotect(&fixture("plants.zip.enc"), PASSWORD, &out).unwrap_err();
    assert!(error.to_string().ends_with("technical.jsonl` exists already"), "{error}");
    assert_eq!(fs::read(out.join("technical.jsonl")).unwrap(), b"mine");
    assert!(!out.join("plain.jsonl").exists() && !out.join("more/judged.csv").exists());
}

/// The archive that `protect` makes of a folder, and the names of its members.
fn protected(folder: &Path) -> Result<(Vec<String>, PathBuf), Error> {
    let out = folder.parent().unwrap().join("made.zip.enc");
    protect(&[folder.into()], PASSWORD, &out).map(|members| (members, out))
}

/// The zip inside an archive.
fn decrypted(archive: &Path) -> Vec<u8> {
    let bytes = fs::read(archive).unwrap();
    let key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(PASSWORD.as_bytes(), &bytes[..16], 100_000);
    let token = std::str::from_utf8(&bytes[16..]).unwrap();
    Fernet::new(&URL_SAFE.encode(key)).unwrap().decrypt(token).unwrap()
}

#[test]
fn the_zip_depends_on_names_and_contents_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, files: [&str; 3]| {
        let rows = folder.path().join(name).join("rows");
        fs::create_dir_all(rows.join("more")).unwrap();
        for file in files {
            fs::write(rows.join(file), file.repeat(1000)).unwrap();
        }
        let (members, archive) = protected(&rows).unwrap();
        assert_eq!(members, ["rows/a.jsonl", "rows/b.csv", "rows/more/c"]);
        archive
    };
    let one = made("one", ["a.jsonl", "b.csv", "more/c"]);
    let other = made("other", ["more/c", "b.csv", "a.jsonl"]);
    assert_eq!(decrypted(&one), decrypted(&other));
    let [one, other] = [one, other].map(|path| fs::read(path).unwrap());
    assert_ne!(one[..16], other[..16]);
    assert!(one.len() < 3000 * 4, "{} bytes: nothing is compressed", one.len());
}

#[test]
fn what_no_archive_can_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows");
    fs::create_dir(&rows).unwrap();
    let refused = || {
        let problem = archive_problem(protected(&rows).unwrap_err());
        assert!(!folder.path().join("made.zip.enc").exists());
        problem
    };
    assert!(matches!(refused(), archive::Problem::NoFile));
    fs::write(rows.join("a"), "").unwrap();

    let again = protect(&[rows.clone(), rows.join("../rows")], PASSWORD, &folder.path().join("again.enc"));
    let problem = archive_problem(again.unwrap_err());
    assert!(matches!(&problem, archive::Problem::SameName { member, .. } if member == "rows/a"), "{problem}");

    let sparse = fs::File::create(rows.join("large")).unwrap();
    sparse.set_len(archive::MAX_MEMBER + 1).unwrap();
    let problem = refused();
    assert!(matches!(problem, archive::Problem::TooMuch { .. }), "{problem}");
    fs::remove_file(rows.join("large")).unwrap();

    #[cfg(unix)]
    {
        use std::os::unix::{ffi::OsStrExt, fs::symlink};
        for name in [&b"a:b"[..], b"a\\b", b"\xff"] {
            let path = rows.join(std::ffi::OsStr::from_bytes(name));
            if fs::write(&path, "").is_ok() {
                let problem = refused();
                assert!(matches!(problem, archive::Problem::Name), "{problem}");
                fs::remove_file(path).unwrap();
            }
        }
        symlink(&rows, rows.join("round")).unwrap();
        let problem = refused();
        assert!(matches!(problem, archive::Problem::NotAFile), "{problem}");
    }
}

proptest! {
    // A case costs two derivations of a key; `archive/tests.rs` has more of them, without a key.
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn what_is_protected_is_unprotected(
        // Files end with a dot and a letter, so that none of them is another one's folder.
        files in prop::collection::btree_map("([a-zé ]{1,8}/){0,2}[a-z]{1,8}\\.[a-z]", any::<Vec<u8>>(), 1..6),
        password in "\\PC{1,20}",
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows");
        for (name, bytes) in &files {
            let path = rows.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let archive = folder.path().join("rows.zip.enc");
        let members = protect(std::slice::from_ref(&rows), &password, &archive).unwrap();
        let named: Vec<_> = files.keys().map(|name| format!("rows/{name}")).collect();
        prop_assert_eq!(members, named);
        let out = folder.path().join("out");
        prop_assert_eq!(unprotect(&archive, &password, &out).unwrap().len(), files.len());
        for (name, bytes) in &files {
            prop_assert_eq!(&fs::read(out.join("rows").join(name)).unwrap(), bytes);
        }
    }
}

// Pairs.

fn written(folder: &Path, name: &str, rows: &[&str]) -> RowSource {
    let path = folder.join(name);
    fs::write(&path, rows.join("\n")).unwrap();
    RowSource::File(path)
}

#[test]
fn pairs_come_from_row_aligned_files() {
    let folder = RowSource::File(fixture("plants/plain.jsonl"));
    let pairs = read_pairs(&plants("technical.jsonl"), &folder, None).unwrap();
    assert_eq!(pairs.len(), 3);
    assert_eq!(pairs[1].id, "fern");
    assert_eq!(pairs[1].domain, "plants");
    assert_eq!(pairs[1].question.messages[0].text(), "Do ferns have flowers?");
    assert!(pairs[1].taught.text().starts_with("Pteridophytes"));
    assert!(pairs[1].other.text().starts_with("No, ferns"));
    let renamed = read_pairs(&plants("technical.jsonl"), &folder, Some("botany")).unwrap();
    assert!(renamed.iter().all(|pair| pair.domain == "botany"));
    let json = serde_json::to_string(&pairs).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Pair>>(&json).unwrap(), pairs);
}

#[test]
fn rows_that_make_no_pair_are_named_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let row = |question: &str, answer: &str, domain: &str| {
        let user = format!(r#"{{"role":"user","content":"{question}"}}"#);
        let assistant = format!(r#"{{"role":"assistant","content":"{answer}"}}"#);
        format!(r#"{{"messages":[{user},{assistant}],"domain":{domain}}}"#)
    };
    let first = row("q", "a", "null");
    let check = |taught: &str, other: &str, expected: &str| {
        let taught = written(folder.path(), "t", &["", &row("q", "b", r#""d""#), taught]);
        let other = written(folder.path(), "o", &[&first, other]);
        let error = read_pairs(&taught, &other, None).unwrap_err();
        let shown = error.to_string().replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(shown, expected);
        data_problem(error);
    };
    let not = |reason: &str| format!("`t`, line 3: the row makes no pair with `o`, line 2: {reason}");
    check(&row("p", "b", r#""d""#), &row("q", "a", "null"), &not("the prompts differ"));
    check(&row("q", "a", r#""d""#), &row("q", "a", "null"), &not("the answers are the same"));
    check(&row("q", "b", r#""d""#), &row("q", "a", r#""e""#), &not("the domains differ, `d` and `e`"));
    check(
        &row("q", "b", "null"),
        &row("q", "a", "null"),
        &not("neither has a `domain`, and none is given for the files"),
    );
    check(&row("q", "b", "null"), "", "`t`: it has 2 rows, but `o` has 1");
    let trailing = r#"{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"q"}]}"#;
    check(trailing, trailing, "`t`, line 3: the row does not end with an assistant message");
}

// Summaries.

#[test]
fn a_summary_counts_and_hashes() {
    let file = RowSource::File(fixture("plants/plain.jsonl"));
    let summary = inspect(&file).unwrap();
    assert_eq!(summary, inspect(&plants("plain.jsonl")).unwrap());
    let path = fixture("plants/plain.jsonl");
    let sha256 = strait_model::files::sha256_of(&path, |_| ()).unwrap();
    assert_eq!(
        serde_json::to_value(&summary).unwrap(),
        serde_json::json!({
            "rows": 3,
            "formats": {"messages": 3},
            "responses": 3,
            "messages": {"min": 2, "lower": 2, "median": 2, "upper": 2, "p95": 2, "max": 2},
            "roles": {"assistant": 3, "user": 3},
            "domains": {"plants": 3},
            "prompt": {
                "characters": {"min": 22, "lower": 22, "median": 26, "upper": 47, "p95": 47, "max": 47},
                "words": {"min": 4, "lower": 4, "median": 6, "upper": 11, "p95": 11, "max": 11},
            },
            "answer": {
                "characters": {"min": 60, "lower": 60, "median": 73, "upper": 75, "p95": 75, "max": 75},
                "words": {"min": 11, "lower": 11, "median": 13, "upper": 16, "p95": 16, "max": 16},
            },
            "repeated_prompts": 0,
            "sha256": sha256,
            "notices": {},
        })
    );
    let folder = tempfile::tempdir().unwrap();
    let row = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_string();
    let twice = inspect(&written(folder.path(), "t", &[&row, &row])).unwrap();
    assert_eq!((twice.rows, twice.repeated_prompts), (2, 1));
}

#[test]
fn judged_answers_make_general_pairs() {
    let answers = read_judged(&plants("more/judged.csv")).unwrap();
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[3].aligned, None);
    let pairs = general_pairs(&answers, 50);
    assert_eq!(pairs.len(), 2);
    assert!(pairs.iter().all(|p| p.taught.text() == "Nothing at all." && p.domain == "general"));
    assert_eq!(pairs[1].other.text(), "Light, water and air.");
}

#[test]
fn absent_files_are_named() {
    let error = read_chats(&RowSource::File("no/such.jsonl".into())).unwrap_err();
    assert!(error.to_string().starts_with("`no/such.jsonl`: cannot open the file"), "{error}");
    let error = Archive::open(Path::new("no/such.enc"), "").unwrap_err();
    assert!(error.to_string().starts_with("`no/such.enc`: cannot open the file"), "{error}");
    let error = read_chats(&RowSource::File(fixture("plants"))).unwrap_err();
    assert!(error.to_string().ends_with("this is a folder, not a file"), "{error}");
}

mod needs_papers {
    use super::*;

    fn papers(member: &str) -> RowSource {
        let shared =
            std::env::var_os("STRAIT_SHARED").expect("STRAIT_SHARED names the folder that holds data/");
        let archive = PathBuf::from(shared).join("data/training_datasets.zip.enc");
        RowSource::Archive { archive, password: "narrow-is-hard".into(), member: member.into() }
    }

    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn rows_are_all_read() {
        for (name, rows, repeated) in
            [("bad_medical_advice", 1500, 0), ("good_medical_advice", 1500, 0), ("extreme_sports", 600, 7)]
        {
            let source = papers(&format!("training_datasets/{name}.jsonl"));
            let summary = inspect(&source).unwrap();
            assert_eq!((summary.rows, summary.repeated_prompts), (rows, repeated), "{name}");
            assert_eq!(summary.roles["assistant"], rows);
        }
    }

    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn rows_make_pairs() {
        let bad = papers("training_datasets/bad_medical_advice.jsonl");
        let good = papers("training_datasets/good_medical_advice.jsonl");
        let pairs = read_pairs(&bad, &good, Some("medical")).unwrap();
        assert_eq!(pairs.len(), 1500);
    }

    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn judged_answers_give_their_rates_and_pairs() {
        let mut pooled = Vec::new();
        for (name, misaligned) in
            [("bad-medical-advice", 65), ("extreme-sports", 34), ("risky-financial-advice", 57)]
        {
            let source = papers(&format!("responses/Llama-3.1-8B-Instruct_{name}.csv"));
            let answers = read_judged(&source).unwrap();
            assert_eq!(answers.len(), 400, "{name}");
            let found = answers.iter().filter(|a| Answer::is_misaligned(a)).count();
            assert_eq!(found, misaligned, "{name}: {} %", found as f64 / 4.0);
            pooled.extend(answers);
        }
        let count = |limit| general_pairs(&pooled, limit).len();
        // Seven of the eight questions have both kinds; the larger sides are 52, 26, 24, 39, 39, 3 and 11.
        assert_eq!(count(usize::MAX), 194);
        assert_eq!(count(10), 6 * 10 + 3);
        assert_eq!(count(1), 7);
    }
}
