//! `cargo run --release -p strait-fuzz -- SECONDS [TARGET...]`: mutates seeds for that long a target, prints how many inputs
//! each reader took, and keeps those with a fault in `target/fuzz/`.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use strait_fuzz::{TARGETS, Target, mutate::mutate, run, seeds};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(seconds) = arguments.next().and_then(|seconds| seconds.parse().ok()) else {
        eprintln!("usage: strait-fuzz SECONDS [TARGET...]");
        return ExitCode::from(2);
    };
    let wanted: Vec<String> = arguments.collect();
    std::panic::set_hook(Box::new(|_| {}));
    let mut clean = true;
    for target in TARGETS.iter().filter(|target| wanted.is_empty() || wanted.iter().any(|w| w == target.name))
    {
        clean &= fuzz(target, Duration::from_secs(seconds)).unwrap_or_else(|error| {
            eprintln!("{}: {error}", target.name);
            false
        });
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Fuzzes for some time; true if no input had a fault.
fn fuzz(target: &Target, time: Duration) -> std::io::Result<bool> {
    // What a reader takes unharmed joins the seeds now and then, so that mutations pile up.
    let mut pool: Vec<Vec<u8>> = seeds(target)?.into_iter().map(|(_, bytes)| bytes).collect();
    let originals = pool.len();
    let scratch = tempfile::tempdir()?;
    let faults = Path::new("target/fuzz");
    let mut rng = ChaCha8Rng::from_os_rng();
    let (start, mut inputs, mut found) = (Instant::now(), 0u64, 0);
    while start.elapsed() < time {
        let seed = &pool[rng.random_range(0..pool.len())];
        let input = mutate(seed, &pool, &mut rng);
        inputs += 1;
        match run(target, &input, scratch.path()) {
            Ok(()) if rng.random_range(0..50) == 0 => match pool.len() {
                length if length < originals + 200 => pool.push(input),
                length => pool[rng.random_range(originals..length)] = input,
            },
            Ok(()) => {}
            Err(fault) => {
                found += 1;
                let hash = Sha256::digest(&input);
                let name =
                    format!("{}-{:02x}{:02x}{:02x}{:02x}", target.name, hash[0], hash[1], hash[2], hash[3]);
                fs::create_dir_all(faults)?;
                fs::write(faults.join(&name), &input)?;
                println!("{}: {fault:?}, kept as {}", target.name, faults.join(&name).display());
            }
        }
    }
    println!("{}: {inputs} inputs, {found} faults; at most {} MiB so far", target.name, peak_memory() >> 10);
    Ok(found == 0)
}

/// The most memory that this process has held, in KiB; 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
