//! Archives without their password: a key is slow to derive, on purpose, so that most of these look behind it.

use std::{fs, sync::LazyLock};

use proptest::prelude::*;
use zip::CompressionMethod;

use super::*;

#[test]
fn only_names_below_the_folder_stay_inside() {
    for name in ["a", "a/b.jsonl", "a//b", "..a", "a/..b/c"] {
        assert!(stays_inside(name), "{name}");
    }
    for name in ["", "..", "../a", "a/../b", "/a", "./a", "C:a", "a\\..\\b", "a\0"] {
        assert!(!stays_inside(name), "{name}");
    }
}

#[test]
fn members_keep_the_names_their_files_were_given_by() {
    for (path, name) in [
        ("a.jsonl", "a.jsonl"),
        ("rows/a.jsonl", "rows/a.jsonl"),
        ("./rows//a.jsonl", "rows/a.jsonl"),
        (".", ""),
        ("..", ""),
        ("../rows", "rows"),
        ("rows/../a.jsonl", "a.jsonl"),
        ("/home/me/a.jsonl", "a.jsonl"),
        ("/", ""),
    ] {
        assert_eq!(name_of(Path::new(path)), Path::new(name), "{path}");
    }
}

#[test]
fn what_is_no_token_is_told_without_asking_for_the_password() {
    let archive = |token: &[u8]| [&[0; SALT][..], token].concat();
    let valid = [TOKEN_START, &[b'A'; SHORTEST_TOKEN - 5]].concat();
    let problem = |bytes: &[u8]| decrypt(bytes, "").unwrap_err().to_string();
    assert_eq!(
        problem(&archive(&valid[1..])),
        "115 bytes are too few for a protected archive, which has at least 116"
    );
    assert_eq!(
        problem(&archive(&[b'A'; 200])),
        "not a protected archive: no Fernet token follows the 16 bytes of salt"
    );
    assert_eq!(
        problem(&archive(&[&valid[..], b"A"].concat())),
        "the Fernet token is cut off: its 101 characters are not a multiple of four"
    );
    assert_eq!(
        problem(&archive(&[&valid[..], b"AA+A"].concat())),
        "the byte at offset 118 is no character of a Fernet token"
    );
    assert_eq!(
        problem(&archive(&[&valid[..], b"\xff"].concat())),
        "the byte at offset 116 is no character of a Fernet token"
    );
    assert_eq!(problem(&archive(&valid)), "wrong password, or a damaged archive");
}

const PASSWORD: &str = "open sesame";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

/// An archive that easy-dataset-share made, and its password.
static PLANTS: LazyLock<(Vec<u8>, Fernet)> = LazyLock::new(|| {
    let plants = fs::read(fixture("plants.zip.enc")).unwrap();
    let cipher = cipher(PASSWORD, &plants[..SALT]);
    (plants, cipher)
});

/// The content of an archive with the salt of [`PLANTS`].
fn decrypted(archive: &[u8]) -> Result<Vec<u8>, Problem> {
    let (salt, token) = parts(archive)?;
    assert_eq!(salt, &PLANTS.0[..SALT]);
    decipher(&PLANTS.1, token)
}

#[test]
fn a_truncated_archive_is_an_error_wherever_it_ends() {
    let whole = &PLANTS.0;
    let ends = (0..20).map(|n| n * whole.len() / 20).chain(whole.len() - 5..whole.len());
    for end in ends {
        let problem = decrypted(&whole[..end]).unwrap_err();
        let expected = match end {
            0..116 => matches!(problem, Problem::TooShort { .. }),
            end if end % 4 != 0 => matches!(problem, Problem::CutOff { .. }),
            _ => matches!(problem, Problem::Undecryptable),
        };
        assert!(expected, "{end}: {problem}");
    }
}

#[test]
fn a_flipped_byte_is_an_error_wherever_it_is() {
    let whole = &PLANTS.0;
    let flipped = |at: usize| {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        flipped
    };
    for at in (0..SALT).step_by(5) {
        assert!(decrypt(&flipped(at), PASSWORD).is_err(), "{at}");
    }
    for at in (SALT..whole.len()).step_by(211).chain([whole.len() - 1]) {
        assert!(decrypted(&flipped(at)).is_err(), "{at}");
    }
    let mut foreign = whole.clone();
    foreign[500] = b'\n';
    assert!(matches!(decrypted(&foreign), Err(Problem::NotAToken { offset: 500 })));
}

// Zips that no honest author makes.

fn zip(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn opened(zip: &[u8]) -> Result<Archive> {
    Archive::of(Path::new("a.zip.enc"), zip.into())
}

/// Unpacks this zip into a folder below the one that is returned.
fn unpacked(zip: &[u8]) -> (tempfile::TempDir, Result<Vec<PathBuf>>) {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = opened(zip).and_then(|archive| archive.unpack(&folder.path().join("out")));
    (folder, unpacked)
}

fn problem_of(error: Error) -> Problem {
    assert!(error.hint().is_some());
    match error {
        Error::Input { problem, .. } => *(problem as Box<dyn std::error::Error>).downcast().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_member_that_leads_out_of_the_folder_is_refused_before_anything_is_written() {
    for name in ["../evil", "a/../../evil", "/tmp/strait-evil", "..\\evil", "C:evil"] {
        let made = zip(&[("good", b"1"), (name, b"2")], CompressionMethod::Stored);
        let (folder, unpacked) = unpacked(&made);
        let problem = problem_of(unpacked.unwrap_err());
        assert!(matches!(problem, Problem::Escapes { .. }), "{name}: {problem}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
    }
    let mut link = ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("link", "/etc", SimpleFileOptions::default()).unwrap();
    let (_folder, unpacked) = unpacked(&link.finish().unwrap().into_inner());
    let problem = problem_of(unpacked.unwrap_err());
    assert!(matches!(problem, Problem::Escapes { .. }), "{problem}");
}

/// Overwrites the size that both headers of a zip's only member declare.
fn declare(zip: &mut [u8], size: u32) {
    for (signature, offset) in [(b"PK\x03\x04", 22), (b"PK\x01\x02", 24)] {
        let header = zip.windows(4).position(|w| w == signature).unwrap();
        zip[header + offset..][..4].copy_from_slice(&size.to_le_bytes());
    }
}

#[test]
fn sizes_are_bounded_and_must_be_true() {
    let zeros = vec![0; 100_000];
    let honest = zip(&[("zeros", &zeros)], CompressionMethod::Deflated);
    assert!(honest.len() < 1000);
    let problem = |size| {
        let mut made = honest.clone();
        declare(&mut made, size);
        let archive = opened(&made).unwrap();
        problem_of(archive.read("zeros").unwrap_err())
    };
    let bomb = problem(u32::MAX - 1);
    assert!(matches!(bomb, Problem::MemberTooLarge { .. }), "{bomb}");
    for size in [10, 99_999, 100_001] {
        let lie = problem(size);
        let told = matches!(lie, Problem::Size { .. } | Problem::Member { .. });
        assert!(told, "{size}: {lie}");
    }
    assert_eq!(opened(&honest).unwrap().read("zeros").unwrap(), zeros);
}

#[test]
fn a_zip_that_unpacks_too_large_or_to_too_many_files_is_refused() {
    let large = MAX_MEMBER as u32;
    let one = {
        let mut one = zip(&[("00000", b"")], CompressionMethod::Stored);
        declare(&mut one, large);
        one
    };
    // Five headers over one local entry: only the directory counts them.
    let directory = one.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let end = one.windows(4).position(|w| w == b"PK\x05\x06").unwrap();
    let repeated = |count: u16| {
        let mut made = one[..directory].to_vec();
        for n in 0..count {
            let mut entry = one[directory..end].to_vec();
            entry[46..51].copy_from_slice(format!("{n:05}").as_bytes());
            made.extend(entry);
        }
        let size = (made.len() - directory) as u32;
        let mut tail = one[end..].to_vec();
        tail[8..10].copy_from_slice(&count.to_le_bytes());
        tail[10..12].copy_from_slice(&count.to_le_bytes());
        tail[12..16].copy_from_slice(&size.to_le_bytes());
        made.extend(tail);
        made
    };
    let (folder, unpacked) = unpacked(&repeated(5));
    let problem = problem_of(unpacked.unwrap_err());
    assert!(matches!(problem, Problem::UnpacksTooLarge { .. }), "{problem}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let names: Vec<String> = (0..=MAX_MEMBERS).map(|n| n.to_string()).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let many = zip(&members, CompressionMethod::Stored);
    let problem = problem_of(opened(&many).unwrap_err());
    assert!(matches!(problem, Problem::TooManyMembers { found: 100_001, .. }), "{problem}");
}

#[test]
fn a_broken_zip_is_an_error() {
    let whole = zip(&[("rows", b"rows of text")], CompressionMethod::Stored);
    for broken in [&b"not a zip"[..], &b""[..], &whole[..whole.len() - 1], &whole[1..]] {
        // A reader may find its way in a zip without its first byte; then the member is what fails.
        let problem = match opened(broken) {
            Ok(archive) => archive.read("rows").map(|_| ()).unwrap_err(),
            Err(error) => error,
        };
        problem_of(problem);
    }
    let mut damaged = whole.clone();
    let at = damaged.windows(4).position(|w| w == b"text").unwrap();
    damaged[at] = b'T';
    let archive = opened(&damaged).unwrap();
    let problem = problem_of(archive.read("rows").unwrap_err());
    assert!(matches!(problem, Problem::Member { .. }), "{problem}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encrypted_is_decrypted(zip: Vec<u8>) {
        prop_assert_eq!(decipher(&PLANTS.1, &PLANTS.1.encrypt(&zip)).unwrap(), zip);
    }

    #[test]
    fn what_is_zipped_is_read_back(
        members in prop::collection::btree_map("[a-zé]{1,8}(/[a-z]{1,8})?", any::<Vec<u8>>(), 0..6),
        deflate: bool,
    ) {
        let method = if deflate { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let list: Vec<_> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let archive = opened(&zip(&list, method)).unwrap();
        prop_assert_eq!(archive.members(), members.keys().cloned().collect::<Vec<_>>());
        for (name, bytes) in &members {
            prop_assert_eq!(&archive.read(name).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_gathered_is_unpacked(
        // Files end with a dot and a letter, so that none of them is another one's folder.
        files in prop::collection::btree_map("([a-zé ]{1,8}/){0,2}[a-z]{1,8}\\.[a-z]", any::<Vec<u8>>(), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows");
        for (name, bytes) in &files {
            let path = rows.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let members = gathered(&[rows]).unwrap();
        let named: Vec<_> = files.keys().map(|name| format!("rows/{name}")).collect();
        prop_assert_eq!(members.keys().cloned().collect::<Vec<_>>(), named);
        let (out, unpacked) = unpacked(&zipped(&members, Path::new("a.zip.enc")).unwrap());
        prop_assert_eq!(unpacked.unwrap().len(), files.len());
        for (name, bytes) in &files {
            prop_assert_eq!(&fs::read(out.path().join("out/rows").join(name)).unwrap(), bytes);
        }
    }
}

// All or none.

/// Everything below a folder, by path.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).ok();
            found.insert(path, bytes);
        }
    }
    found
}

/// A zip whose members are sound but for the last.
fn damaged_at_its_end() -> Vec<u8> {
    let mut made = zip(&[("a", b"1"), ("b/c", b"2"), ("b/d", b"rows of text")], CompressionMethod::Stored);
    let at = made.windows(4).position(|w| w == b"text").unwrap();
    made[at] = b'T';
    made
}

#[test]
fn of_a_damaged_archive_nothing_is_left_in_a_new_folder_or_in_one_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("some/where/out");
    let archive = opened(&damaged_at_its_end()).unwrap();
    for existing in [false, true] {
        if existing {
            fs::create_dir_all(out.join("b")).unwrap();
            fs::write(out.join("mine"), "mine").unwrap();
        }
        let before = tree(&out);
        let problem = problem_of(archive.unpack(&out).unwrap_err());
        assert!(matches!(problem, Problem::Member { .. }), "{problem}");
        assert_eq!(tree(&out), before);
        assert_eq!(out.exists(), existing);
    }
    // The same can be tried again with a sound archive, beside what was there.
    let sound = zip(&[("a", b"1"), ("b/c", b"2"), ("e/f/g", b"3")], CompressionMethod::Deflated);
    opened(&sound).unwrap().unpack(&out).unwrap();
    for (name, bytes) in [("a", "1"), ("b/c", "2"), ("e/f/g", "3"), ("mine", "mine")] {
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4, "a temporary folder is left");
}

#[test]
#[cfg(unix)]
fn a_new_folder_may_be_read_as_any_other() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, unpacked) = unpacked(&zip(&[("a", b"1")], CompressionMethod::Stored));
    unpacked.unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode();
    assert_eq!(mode(folder.path().join("out")), mode(other));
}

#[test]
fn what_lies_there_already_is_refused_and_stays() {
    let made = zip(&[("new", b"1"), ("a/b", b"2")], CompressionMethod::Stored);
    type Occupy = fn(&Path);
    let occupied: [(&str, Occupy); 3] = [
        ("the file", |out| {
            fs::create_dir(out.join("a")).unwrap();
            fs::write(out.join("a/b"), "mine").unwrap();
        }),
        ("a file for a folder", |out| fs::write(out.join("a"), "mine").unwrap()),
        ("a folder for a file", |out| fs::create_dir_all(out.join("a/b")).unwrap()),
    ];
    for (what, occupy) in occupied {
        let out = tempfile::tempdir().unwrap();
        occupy(out.path());
        let before = tree(out.path());
        let problem = problem_of(opened(&made).unwrap().unpack(out.path()).unwrap_err());
        assert!(matches!(problem, Problem::Exists { .. }), "{what}: {problem}");
        assert_eq!(tree(out.path()), before, "{what}");
    }
}

#[test]
#[cfg(unix)]
fn a_link_in_the_folder_is_not_followed_out_of_it() {
    let [out, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), out.path().join("a")).unwrap();
    let made = zip(&[("a/b", b"2")], CompressionMethod::Stored);
    let problem = problem_of(opened(&made).unwrap().unpack(out.path()).unwrap_err());
    assert!(matches!(problem, Problem::Exists { .. }), "{problem}");
    assert_eq!(tree(elsewhere.path()), BTreeMap::new());
}

#[test]
fn members_that_cannot_lie_beside_each_other_are_refused() {
    for [one, other] in [["a", "a/b"], ["A/b", "a/B"], ["x/y", "X"], ["é", "É"]] {
        let (folder, unpacked) = unpacked(&zip(&[(one, b"1"), (other, b"2")], CompressionMethod::Stored));
        let problem = problem_of(unpacked.unwrap_err());
        assert!(matches!(problem, Problem::Clash { .. }), "{one}, {other}: {problem}");
        assert_eq!(tree(folder.path()), BTreeMap::new());
    }
    // The writer makes no two members of one name.
    let mut doubled = zip(&[("one", b"1"), ("two", b"2")], CompressionMethod::Stored);
    while let Some(at) = doubled.windows(3).position(|w| w == b"two") {
        doubled[at..at + 3].copy_from_slice(b"one");
    }
    assert!(matches!(problem_of(opened(&doubled).unwrap_err()), Problem::Doubled));
}

#[test]
fn devices_and_pipes_are_refused() {
    let made = zip(&[("fifo", b"")], CompressionMethod::Stored);
    for kind in [0o010_000_u32, 0o020_000, 0o060_000, 0o140_000] {
        let mut made = made.clone();
        let header = made.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        // Made on Unix, with this mode.
        made[header + 5] = 3;
        made[header + 38..][..4].copy_from_slice(&((kind | 0o644) << 16).to_le_bytes());
        let (_folder, unpacked) = unpacked(&made);
        let problem = problem_of(unpacked.unwrap_err());
        assert!(matches!(problem, Problem::Special { .. }), "{kind:o}: {problem}");
    }
}

#[test]
fn what_unpacks_to_many_times_its_size_is_refused() {
    let mut bomb = zip(&[("zeros", &[0; 100_000])], CompressionMethod::Deflated);
    declare(&mut bomb, ALWAYS_UNPACKED as u32 + (1 << 20));
    let archive = opened(&bomb).unwrap();
    let problem = problem_of(archive.read("zeros").map(drop).unwrap_err());
    assert!(matches!(problem, Problem::MemberTooLarge { .. }), "{problem}");
    let (folder, unpacked) = unpacked(&bomb);
    let problem = problem_of(unpacked.unwrap_err());
    assert!(matches!(problem, Problem::UnpacksTooLarge { .. }), "{problem}");
    assert_eq!(tree(folder.path()), BTreeMap::new());
}
