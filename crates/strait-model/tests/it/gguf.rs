//! GGUF files: whole ones, each kind of damaged one, and every quantised type.

use std::path::Path;

use proptest::prelude::*;
use strait_model::{
    Error, Gguf,
    error::Problem as _,
    gguf::{Array, Header, Problem, Value},
};

use crate::common::{F32, File, real_model};

const Q4_0: u32 = 2;
const IQ2_XXS: u32 = 16;

/// A small whole file with metadata of every kind and two tensors.
fn whole() -> File {
    File::new()
        .text("general.architecture", "llama")
        .number("count", 7)
        .with("below", Value::Signed(-7))
        .float("base", 0.5)
        .with("truth", Value::Boolean(true))
        .with("tokens", Value::Array(Array::Text(vec!["a".into(), "β".into()])))
        .with("types", Value::Array(Array::Signed(vec![1, -2, 3])))
        .with("scores", Value::Array(Array::Float(vec![0.25, -1.0])))
        .floats("a", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .tensor("b", &[1, 32], Q4_0, &[0x11; 18])
}

/// Metadata of one entry with the value type `kind` and the value `payload`.
fn entry(kind: u32, payload: &[u8]) -> File {
    let mut file = File::new().number("k", 0);
    file.entries[0].kind = kind;
    file.entries[0].payload = payload.into();
    file
}

/// A file whose one tensor's entry is changed by `change`.
fn tensor(change: impl FnOnce(&mut crate::common::Tensor)) -> File {
    let mut file = File::new().floats("t", &[2, 4], &[0.0; 8]);
    change(&mut file.tensors[0]);
    file
}

fn check(bytes: &[u8], message: &str) {
    let problem = Header::parse(bytes).expect_err(message);
    assert_eq!(problem.to_string(), message);
    assert!(!problem.hint().is_empty());
}

#[test]
fn a_whole_file_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = Gguf::open(&whole().save(&folder)).unwrap();

    assert_eq!(file.string("general.architecture").unwrap(), Some("llama"));
    assert_eq!(file.integer("count").unwrap(), Some(7));
    assert_eq!(file.integer("below").unwrap(), Some(-7));
    assert_eq!(file.float("base").unwrap(), Some(0.5));
    assert_eq!(file.boolean("truth").unwrap(), Some(true));
    let tokens = ["a".to_string(), "β".to_string()];
    assert_eq!(file.strings("tokens").unwrap(), Some(&tokens[..]));
    assert_eq!(file.integers("types").unwrap(), Some(vec![1, -2, 3]));
    assert_eq!(file.floats("scores").unwrap(), Some(vec![0.25, -1.0]));
    assert_eq!(file.string("absent").unwrap(), None);

    let names: Vec<_> = file.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let (shape, weights) = file.dequantise("a").unwrap();
    assert_eq!((shape, weights), (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(file.dequantise("b").unwrap().0, [1, 32]);
}

#[test]
fn every_integer_width_is_read() {
    let cases: [(u32, &[u8], i64); 8] = [
        (0, &[200], 200),
        (1, &[200], -56),
        (2, &[0x34, 0x12], 0x1234),
        (3, &[0xfe, 0xff], -2),
        (4, &[0, 0, 0, 0x80], 1 << 31),
        (5, &[0, 0, 0, 0x80], -1 << 31),
        (10, &[1, 0, 0, 0, 0, 0, 0, 0x40], (1 << 62) + 1),
        (11, &[0xff; 8], -1),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (kind, payload, expected) in cases {
        let file = Gguf::open(&entry(kind, payload).save(&folder)).unwrap();
        assert_eq!(file.integer("k").unwrap(), Some(expected), "type {kind}");
    }
    let file = Gguf::open(&entry(12, &0.1f64.to_le_bytes()).save(&folder)).unwrap();
    assert_eq!(file.float("k").unwrap(), Some(0.1));
}

#[test]
fn a_value_of_another_kind_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = whole().save(&folder);
    let file = Gguf::open(&path).unwrap();
    let check = |error: Error, message: &str| {
        assert_eq!(error.to_string(), format!("`{}`: {message}", path.display()));
    };
    check(
        file.integer("base").unwrap_err(),
        "the value of `base` should be an integer below 2^63 and is a number with a fraction",
    );
    check(
        file.strings("types").unwrap_err(),
        "the value of `types` should be an array of texts and is an array of integers",
    );
    check(file.string("truth").unwrap_err(), "the value of `truth` should be a text and is a truth value");
    check(file.dequantise("c").unwrap_err(), "there is no tensor `c`");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = whole().bytes();
    Header::parse(&bytes).unwrap();
    for end in 0..bytes.len() {
        let problem = Header::parse(&bytes[..end]).expect_err("a file cut short");
        assert!(
            matches!(problem, Problem::Truncated { .. } | Problem::Count { .. } | Problem::Outside { .. }),
            "cut at {end}: {problem}"
        );
        assert!(problem.hint().contains("not whole"), "cut at {end}");
    }
}

#[test]
fn a_cut_is_described_with_its_place() {
    let bytes = whole().bytes();
    check(
        &bytes[..3],
        "the file ends at byte 3 inside the magic number, which starts at byte 0: 1 bytes are missing",
    );
    let short = File::new().text("general.architecture", "llama").bytes();
    check(
        &short[..50],
        "the file ends at byte 50 inside the key of metadata entry 0, which starts at byte 32: 2 bytes are missing",
    );
    let end = bytes.len();
    check(
        &bytes[..end - 1],
        &format!(
            "the 18 bytes of tensor `b` start at byte {}, but the file ends at byte {}",
            end - 18,
            end - 1
        ),
    );
}

#[test]
fn an_empty_file_and_a_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.gguf");
    std::fs::write(&path, "").unwrap();
    let message = Gguf::open(&path).unwrap_err().to_string();
    assert!(message.contains("the file is empty"), "{message}");
    assert!(matches!(Gguf::open(folder.path()), Err(Error::NotAFile { .. })));
}

#[test]
fn other_files_and_versions_are_refused() {
    let version = |version| File { version, ..whole() }.bytes();
    check(b"PK\x03\x04 a zip file", r"not a GGUF file: its first bytes are `PK\x03\x04`, not `GGUF`");
    check(&version(1), "GGUF version 1, where 2 and 3 are supported");
    check(&version(4), "GGUF version 4, where 2 and 3 are supported");
    check(
        &version(3 << 24),
        "a big-endian GGUF file (version 3), where only little-endian ones are supported",
    );
    Header::parse(&version(2)).unwrap();
}

#[test]
fn absurd_counts_are_refused() {
    let whole = whole().bytes();
    let with_count = |at: usize, count: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        bytes
    };
    let room = |after: usize, smallest: usize| (whole.len() - after) / smallest;
    check(
        &with_count(8, 1 << 63),
        &format!(
            "the number of tensors, at byte 8, is 9223372036854775808, but the rest of the file has room for at most {}",
            room(16, 24)
        ),
    );
    check(
        &with_count(16, u64::MAX),
        &format!(
            "the number of metadata entries, at byte 16, is 18446744073709551615, but the rest of the file has room for at most {}",
            room(24, 13)
        ),
    );
    let mut array = 8u32.to_le_bytes().to_vec();
    array.extend((1u64 << 61).to_le_bytes());
    check(
        &entry(9, &array).bytes(),
        "the number of elements in the value of `k`, at byte 41, is 2305843009213693952, but the rest of the file has room for at most 1",
    );
}

#[test]
fn bad_keys_and_values_are_refused() {
    let mut long = File::new().number(&"k".repeat(65_536), 1);
    check(
        &long.bytes(),
        "the key of metadata entry 0, at byte 24, is 65536 bytes long, where 65535 is the limit",
    );
    long.entries[0].key.pop();
    Header::parse(&long.bytes()).unwrap();

    check(
        &File::new().number("k", 1).number("k", 1).bytes(),
        "the key `k` stands twice, the second time at byte 41",
    );
    check(&entry(13, &[0; 8]).bytes(), "the value of `k`, at byte 33, has the unknown type 13");
    check(&entry(7, &[2]).bytes(), "the value of `k`, at byte 37, should be 0 or 1 (false or true) and is 2");
    check(
        &entry(8, b"\x03\0\0\0\0\0\0\0ab\xff").bytes(),
        "the value of `k`, at byte 45, is not valid UTF-8 from its byte 2 on",
    );
    check(
        &entry(8, &u64::MAX.to_le_bytes()).bytes(),
        "the file ends at byte 64 inside the value of `k`, which starts at byte 45: 18446744073709551596 bytes are missing",
    );
}

#[test]
fn arrays_nest_to_a_limit() {
    let nested = |depth| (0..depth).fold(Array::Unsigned(vec![1]), |inner, _| Array::Array(vec![inner]));
    let file = |depth| File::new().with("k", Value::Array(nested(depth))).bytes();
    let header = Header::parse(&file(3)).unwrap();
    assert_eq!(header.get("k"), Some(&Value::Array(nested(3))));
    check(&file(4), "the value of `k` nests arrays more than 4 deep at byte 85");
}

#[test]
fn a_bad_alignment_is_refused() {
    for found in [0, 4, 24] {
        check(
            &File::new().number("general.alignment", found).bytes(),
            &format!("`general.alignment` is {found}, not a power of two of at least 8"),
        );
    }
    check(
        &File::new().text("general.alignment", "32").bytes(),
        "the value of `general.alignment` should be an unsigned integer and is a text",
    );
}

#[test]
fn bad_tensors_are_refused() {
    check(
        &tensor(|t| t.dimensions = vec![1; 5]).bytes(),
        "tensor `t`, at byte 33, has 5 dimensions, where 4 is the limit",
    );
    check(
        &tensor(|t| t.dimensions = vec![1 << 32, 1 << 31, 1, 2]).bytes(),
        "the dimensions [2, 1, 2147483648, 4294967296] of tensor `t`, at byte 37, multiply past 2^64 bytes",
    );
    check(
        &tensor(|t| t.dimensions = vec![1 << 62]).bytes(),
        "the dimensions [4611686018427387904] of tensor `t`, at byte 37, multiply past 2^64 bytes",
    );
    check(
        &tensor(|t| t.kind = IQ2_XXS).bytes(),
        "tensor `t` is of type IQ2_XXS (at byte 53), which is not supported",
    );
    check(
        &tensor(|t| t.kind = 1000).bytes(),
        "tensor `t` is of type number 1000 (at byte 53), which is not supported",
    );
    check(
        &tensor(|t| t.kind = Q4_0).bytes(),
        "tensor `t` has rows of 4 weights, which is not a multiple of 32, the block size of Q4_0",
    );
    check(
        &tensor(|t| t.offset = 4).bytes(),
        "the data of tensor `t` starts 4 bytes into the data section, which is not a multiple of the alignment 32",
    );
    check(
        &tensor(|t| t.offset = 32).bytes(),
        "the 32 bytes of tensor `t` start at byte 128, but the file ends at byte 128",
    );
    check(
        &tensor(|t| t.offset = u64::MAX - 31).bytes(),
        "the 32 bytes of tensor `t` start at byte 18446744073709551680, but the file ends at byte 128",
    );
    check(
        &File::new().floats("t", &[1], &[0.0]).floats("t", &[1], &[0.0]).bytes(),
        "the tensor `t` stands twice, the second time at byte 57",
    );
}

#[test]
fn an_endless_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = entry(8, &(1u64 << 28).to_le_bytes()).save(&folder);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 29).unwrap(); // takes no space on disk
    let message = Gguf::open(&path).unwrap_err().to_string();
    let expected = "the header is longer than 268435456 bytes (reading the value of `k` at byte 45)";
    assert!(message.ends_with(expected), "{message}");
}

/// Opens the bytes as a file and reads every tensor, if the header is accepted.
fn read_all(bytes: &[u8], folder: &Path) {
    if Header::parse(bytes).is_ok() {
        let path = folder.join("mutated.gguf");
        std::fs::write(&path, bytes).unwrap();
        let file = Gguf::open(&path).unwrap();
        for tensor in file.tensors() {
            let (shape, weights) = file.dequantise(&tensor.name).unwrap();
            assert_eq!(shape.iter().product::<usize>(), weights.len());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512), headed: bool) {
        let mut file = if headed { b"GGUF\x03\0\0\0".to_vec() } else { vec![] };
        file.extend(bytes);
        read_all(&file, tempfile::tempdir().unwrap().path());
    }

    #[test]
    fn mutations_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = whole().bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes, tempfile::tempdir().unwrap().path());
    }
}

/// Every quantised type against what `fixtures/dequantise/make.py` says its blocks mean.
#[test]
fn blocks_of_every_type_become_the_reference_weights() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dequantise/blocks.gguf");
    let file = Gguf::open(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut types = 0;
    for tensor in file.tensors() {
        let Ok((shape, expected)) = file.dequantise(&format!("{}.reference", tensor.name)) else {
            continue;
        };
        types += 1;
        let (found_shape, found) = file.dequantise(&tensor.name).unwrap();
        assert_eq!(found_shape, shape, "{}", tensor.name);
        assert_eq!(found, expected, "{}", tensor.name);

        // The same blocks over and over, so that several tasks share the work.
        let repeats = (200_000 / expected.len()) + 1;
        let blocks = bytes[tensor.offset..tensor.offset + tensor.size].repeat(repeats);
        let kind = type_number(&tensor.name);
        let folder = tempfile::tempdir().unwrap();
        let long = File::new().tensor("long", &[repeats, expected.len()], kind, &blocks);
        let long = Gguf::open(&long.save(&folder)).unwrap();
        let (_, found) = long.dequantise("long").unwrap();
        assert_eq!(found, expected.repeat(repeats), "{} repeated", tensor.name);
    }
    assert_eq!(types, 13);
}

fn type_number(name: &str) -> u32 {
    match name {
        "F32" => F32,
        "F16" => 1,
        "Q4_0" => Q4_0,
        "Q4_1" => 3,
        "Q5_0" => 6,
        "Q5_1" => 7,
        "Q8_0" => 8,
        "Q2_K" => 10,
        "Q3_K" => 11,
        "Q4_K" => 12,
        "Q5_K" => 13,
        "Q6_K" => 14,
        "BF16" => 30,
        _ => panic!("no such type: {name}"),
    }
}

/// A tensor of a real model as gguf-py reads it.
struct Known {
    file: &'static str,
    tensor: &'static str,
    sum: f64,
    squares: f64,
    first: f32,
    last: f32,
}

const KNOWN: [Known; 6] = [
    Known {
        file: "smollm2.gguf",
        tensor: "token_embd.weight",
        sum: -15353.04449415207,
        squares: 520415.71544763993,
        first: -0.106_544_495,
        last: -0.041_702_27,
    },
    Known {
        file: "smollm2.gguf",
        tensor: "blk.7.ffn_down.weight",
        sum: -198.9853515625,
        squares: 31404.29622159945,
        first: -0.127_594,
        last: 0.057_067_87,
    },
    Known {
        file: "qwen2.5-coder-0.5b.gguf",
        tensor: "blk.0.ffn_down.weight",
        sum: 27.406931698322296,
        squares: 728.4772084336848,
        first: -0.001_841_068_3,
        last: 0.003_117_263_3,
    },
    Known {
        file: "qwen2.5-coder-0.5b.gguf",
        tensor: "blk.3.attn_q.weight",
        sum: 3.503012001514435,
        squares: 231.48891896478102,
        first: 0.0,
        last: -0.029_533_386,
    },
    Known {
        file: "gemma-3-270m.gguf",
        tensor: "blk.0.attn_output.weight",
        sum: -1.8330761790275574,
        squares: 930.2992641774874,
        first: -0.015_705_109,
        last: -0.011_407_614,
    },
    Known {
        file: "gemma-3-270m.gguf",
        tensor: "blk.17.ffn_down.weight",
        sum: -0.20717471837997437,
        squares: 337.90326588724383,
        first: 0.015_174_866,
        last: -0.005_988_121,
    },
];

fn hold_the_known_weights(known: &[Known]) {
    for known in known {
        let file = Gguf::open(&real_model(known.file)).unwrap();
        let (_, weights) = file.dequantise(known.tensor).unwrap();
        let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let squares: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
        assert_eq!(weights[0], known.first, "{}", known.tensor);
        assert_eq!(weights.last(), Some(&known.last), "{}", known.tensor);
        assert!((sum - known.sum).abs() < 1e-4, "{}", known.tensor);
        assert!((squares / known.squares - 1.0).abs() < 1e-9, "{}", known.tensor);
    }
}

mod needs_smollm2 {
    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn it_holds_the_known_weights() {
        super::hold_the_known_weights(&super::KNOWN[..2]);
    }
}

mod needs_models {
    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn they_hold_the_known_weights() {
        super::hold_the_known_weights(&super::KNOWN[2..]);
    }
}
