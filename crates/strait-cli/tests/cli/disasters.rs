//! Kills, full disks and read-only folders: nothing is lost, nothing is half-written.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    common::{Place, text, tiny},
    studies::small_study,
};

/// The tables of a run, by name.
fn tables(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(run.join("tables")).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// `kill -9` at moments drawn from a fixed seed, 8 of them; `STRAIT_KILLS` may ask for more.
#[test]
fn a_study_that_is_killed_again_and_again_ends_with_the_same_tables() {
    let wanted: usize =
        std::env::var("STRAIT_KILLS").map_or(8, |n| n.parse().expect("STRAIT_KILLS is a number"));
    let place = Place::new();
    small_study(&place, 60);
    let started = Instant::now();
    let whole = place.run(["run", "small.toml", "--out", "whole"]);
    let longest = started.elapsed();
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    let expected = tables(&place.path("whole"));
    assert!(expected.len() >= 10, "{:?}", expected.keys());

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut kills = 0;
    for _ in 0..20 * wanted {
        let mut strait = Command::new(env!("CARGO_BIN_EXE_strait"));
        strait.args(["run", "small.toml", "--out", "killed"]).current_dir(place.path(""));
        let mut child = strait.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(longest.mul_f64(rng.random_range(0.02..0.7)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
            child.wait().unwrap();
        } else {
            assert_eq!(tables(&place.path("killed")), expected, "after {kills} kills");
            std::fs::remove_dir_all(place.path("killed")).unwrap();
        }
        if kills == wanted {
            break;
        }
    }
    assert_eq!(kills, wanted, "too few runs were still at work when they were to be killed");
    let last = place.run(["run", "small.toml", "--out", "killed"]);
    assert_eq!(last.code, Some(0), "{}", last.err);
    assert_eq!(tables(&place.path("killed")), expected);
}

#[test]
fn a_row_longer_than_the_context_is_named() {
    let place = Place::new();
    let row = |words: usize| {
        let answer = "word ".repeat(words);
        format!(
            r#"{{"messages": [{{"role": "user", "content": "Why?"}}, {{"role": "assistant", "content": "{answer}"}}]}}"#
        )
    };
    place.write("rows.jsonl", &format!("{}\n{}\n", row(3), row(100_000)));
    let said = place.run(["score", "--model", &text(&tiny("llama")), "--data", "rows.jsonl"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("`rows.jsonl`, line 2: a sequence of"), "{}", said.err);
    assert!(said.err.contains("hint: shorten the text"), "{}", said.err);
}

#[cfg(target_os = "linux")]
mod needs_mount {
    use std::path::PathBuf;

    use super::*;

    /// A small file system of its own.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new(path: PathBuf, options: &str) -> Self {
            std::fs::create_dir_all(&path).unwrap();
            let mounted =
                Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status();
            assert!(mounted.unwrap().success(), "this user may not mount a file system");
            Self(path)
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
        }
    }

    #[test]
    #[ignore = "needs leave to mount: run as root"]
    fn a_full_disk_is_said_and_the_run_goes_on_once_there_is_room() {
        let place = Place::new();
        small_study(&place, 4);
        let disk = Mounted::new(place.path("disk"), "size=96k");
        let full = place.run(["run", "small.toml", "--out", "disk/run"]);
        assert_eq!(full.code, Some(1), "{}", full.out);
        assert!(full.err.contains("No space left on device"), "{}", full.err);
        assert!(full.err.contains("hint: the disk is full: free some space"), "{}", full.err);
        assert!(!place.path("disk/run/report.html").exists());

        let more = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk.0).status().unwrap();
        assert!(more.success());
        let continued = place.run(["run", "small.toml", "--out", "disk/run"]);
        assert_eq!(continued.code, Some(0), "{}", continued.err);
        let elsewhere = place.run(["run", "small.toml", "--out", "elsewhere"]);
        assert_eq!(elsewhere.code, Some(0));
        assert_eq!(tables(&place.path("disk/run")), tables(&place.path("elsewhere")));
    }

    #[test]
    #[ignore = "needs leave to mount: run as root"]
    fn a_read_only_mount_is_said() {
        let place = Place::new();
        small_study(&place, 4);
        let _disk = Mounted::new(place.path("disk"), "ro");
        let refused = place.run(["run", "small.toml", "--out", "disk/run"]);
        assert_eq!(refused.code, Some(1), "{}", refused.out);
        assert!(refused.err.contains("disk/run"), "{}", refused.err);
        assert!(refused.err.contains("hint: the file system is mounted read-only"), "{}", refused.err);
    }
}
