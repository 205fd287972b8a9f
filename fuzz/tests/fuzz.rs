//! Replays the seed corpus of every reader, and mutations of it by a fixed seed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use strait_fuzz::{TARGETS, mutate::mutate, run, seeds};

/// Mutations of each seed; the program beside this test makes millions.
const MUTATIONS: usize = 20;

#[test]
fn no_reader_panics_on_its_corpus_or_mutations_of_it() {
    for target in &TARGETS {
        let seeds = seeds(target).unwrap();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let pool: Vec<Vec<u8>> = seeds.iter().map(|(_, bytes)| bytes.clone()).collect();
        let scratch = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(12);
        for (name, seed) in &seeds {
            assert_eq!(run(target, seed, scratch.path()), Ok(()), "{} on {name}", target.name);
            for number in 0..MUTATIONS {
                let input = mutate(seed, &pool, &mut rng);
                assert_eq!(
                    run(target, &input, scratch.path()),
                    Ok(()),
                    "{} on mutation {number} of {name}",
                    target.name
                );
            }
        }
    }
}
