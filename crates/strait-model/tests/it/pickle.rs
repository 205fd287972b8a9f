//! PyTorch files, honest and hostile. `fixtures/edit/make.py` writes them.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use crate::common::problem_of;
use strait_model::edit::{
    pickle,
    torch::{self, Loaded, Value},
};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/edit").join(name)
}

/// The eight numbers that every honest vector file holds.
fn values() -> Vec<f32> {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(expected["vector"].clone()).unwrap()
}

fn problem(path: &Path) -> torch::Problem {
    match torch::read(path) {
        Err(error) if error.to_string().starts_with(&format!("`{}`: ", path.display())) => problem_of(error),
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn pickle_problem(name: &str) -> pickle::Problem {
    match problem(&fixture(&format!("hostile/{name}.pt"))) {
        torch::Problem::Pickle(problem) => problem,
        other => panic!("{name}: {other}"),
    }
}

#[test]
fn a_bare_tensor() {
    let loaded = Loaded { shape: vec![8, 1], values: values() };
    let found = torch::read(&fixture("torch/bare.pt")).unwrap();
    assert_eq!(found, Value::Tensor(loaded));
}

#[test]
fn a_dict_of_every_kind() {
    for (name, precision) in [
        ("dict", 0.0),
        ("view", 0.0),
        ("ordered", 0.0),
        ("protocol4", 0.0),
        ("deflated", 0.0),
        ("f64", 0.0),
        ("f16", 5e-4),
        ("bf16", 4e-3),
    ] {
        let found = torch::read(&fixture(&format!("torch/{name}.pt"))).unwrap();
        assert_eq!(found.get("layer_idx"), Some(&Value::Int(24)), "{name}");
        assert_eq!(found.get("d_model"), Some(&Value::Int(8)), "{name}");
        assert_eq!(found.get("alpha"), Some(&Value::Float(256.0)), "{name}");
        assert_eq!(found.get("beta"), None, "{name}");
        let Some(Value::Tensor(vector)) = found.get("steering_vector") else {
            panic!("{name}: {found:?}");
        };
        assert_eq!(vector.shape, [8], "{name}");
        for (found, expected) in vector.values.iter().zip(values()) {
            assert!((found - expected).abs() <= precision * expected.abs(), "{name}");
        }
    }
}

#[test]
fn a_parameter_is_its_tensor() {
    let found = torch::read(&fixture("torch/parameter.pt")).unwrap();
    assert!(matches!(found, Value::Tensor(t) if t.values == values()));
}

#[test]
fn rows_of_a_matrix_stay_rows() {
    let Value::Tensor(matrix) = torch::read(&fixture("torch/matrix.pt")).unwrap() else {
        panic!("no tensor");
    };
    assert_eq!(matrix.shape, [8, 3]);
    let expected: Vec<f32> = values().into_iter().flat_map(|v| [0.0, v, 0.0]).collect();
    assert_eq!(matrix.values, expected);
}

#[test]
fn code_is_refused_by_its_name_however_it_is_spelt() {
    let global = |name: &str, offset| pickle::Problem::Global { name: name.into(), offset };
    // Protocol 2 writes the module's name of Python 2.
    assert_eq!(pickle_problem("call_global"), global("__builtin__.print", 27));
    assert_eq!(pickle_problem("call_stack_global"), global("builtins.print", 50));
    assert_eq!(pickle_problem("call_memo"), global("builtins.print", 25));
    assert_eq!(pickle_problem("call_obj"), global("builtins.print", 3));
    assert_eq!(pickle_problem("stack_global_ints"), global("an int.an int", 6));

    let opcode = |byte, name, offset| pickle::Problem::Opcode { byte, name, offset };
    assert_eq!(pickle_problem("call_inst"), opcode(b'i', "INST", 12));
    assert_eq!(pickle_problem("newobj"), opcode(0x81, "NEWOBJ", 28));

    let shown = torch::read(&fixture("hostile/call_global.pt")).unwrap_err();
    assert!(shown.to_string().contains("`__builtin__.print` at byte 27"));
    assert!(shown.hint().unwrap().contains("runs no code"));
}

#[test]
fn items_are_set_in_dicts_only() {
    let container =
        |opcode, found, offset| pickle::Problem::Container { opcode, wanted: "a dict", found, offset };
    assert_eq!(pickle_problem("setitem_tensor"), container("SETITEM", "a tensor", 157));
    assert_eq!(pickle_problem("setitems_tensor"), container("SETITEMS", "a tensor", 158));
    assert_eq!(pickle_problem("setitem_list"), container("SETITEM", "a list", 7));
}

#[test]
fn nesting_and_sharing_are_bounded() {
    assert_eq!(pickle_problem("deep"), pickle::Problem::TooDeep);
    assert_eq!(pickle_problem("cycle"), pickle::Problem::TooDeep);
    assert_eq!(
        pickle_problem("unfolds"),
        pickle::Problem::TooMany {
            what: "objects once shared ones are unfolded",
            limit: pickle::MAX_OBJECTS,
        }
    );
}

#[test]
fn a_view_stays_in_its_storage() {
    for (name, stride) in [("view_outside", 1), ("expanded", 0)] {
        let expected = pickle::Problem::View {
            shape: vec![1_000_000_000_000],
            strides: vec![stride],
            start: 0,
            len: 8,
            offset: 178,
        };
        assert_eq!(pickle_problem(name), expected);
    }
}

#[test]
fn archives_that_lie() {
    let hostile = |name: &str| problem(&fixture(&format!("hostile/{name}.pt")));
    for length in [4, 9] {
        assert!(matches!(
            hostile(&format!("storage_of_{length}")),
            torch::Problem::StorageSize { key, declared: 32, found } if key == "0" && found == length * 4
        ));
    }
    assert!(matches!(
        hostile("no_storage"),
        torch::Problem::NoStorage { key, entry } if key == "0" && entry == "data/0"
    ));
    assert!(matches!(hostile("no_pickle"), torch::Problem::Pickles { found: 0 }));
    assert!(matches!(hostile("two_pickles"), torch::Problem::Pickles { found: 2 }));
    assert!(matches!(
        hostile("big_endian"),
        torch::Problem::ByteOrder { found } if found == "big"
    ));
    assert!(matches!(
        hostile("bzip2"),
        torch::Problem::Compression { entry, .. } if entry == "dict/data.pkl"
    ));
    assert!(matches!(
        hostile("inflates"),
        torch::Problem::Size { claimed, limit: torch::MAX_INFLATED } if claimed > 1 << 31
    ));
    assert!(matches!(hostile("not_zip"), torch::Problem::NotTorch));
}

#[test]
fn the_old_format_is_named_with_its_remedy() {
    let error = torch::read(&fixture("torch/legacy.pt")).unwrap_err();
    assert!(error.to_string().contains("before version 1.6"));
    assert!(error.hint().unwrap().contains("torch.save"));
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let whole = std::fs::read(fixture("torch/dict.pt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pt");
    for part in 1..20 {
        std::fs::write(&path, &whole[..whole.len() * part / 20]).unwrap();
        let problem = problem(&path);
        assert!(matches!(problem, torch::Problem::Zip(_) | torch::Problem::NotTorch), "{part}: {problem}");
    }
}

/// The pickle changed byte by byte inside an archive that is whole, so that its tensors are loaded as well.
#[test]
fn a_pickle_changed_anywhere_does_no_harm() {
    let mut archive = ZipArchive::new(File::open(fixture("torch/dict.pt")).unwrap()).unwrap();
    let mut entry = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let (pickle, data) = (entry("dict/data.pkl"), entry("dict/data/0"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pt");
    let read = |pickle: &[u8]| {
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for (name, bytes) in [("dict/data.pkl", pickle), ("dict/data/0", &data)] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        torch::read(&path)
    };
    read(&pickle).unwrap();
    for position in 0..pickle.len() {
        for change in [1, 2, 0x80, 0xff] {
            let mut changed = pickle.clone();
            changed[position] ^= change;
            // Another value or an error: what matters is that it returns.
            let _ = read(&changed);
        }
    }
}

#[test]
fn a_file_changed_anywhere_does_no_harm() {
    let whole = std::fs::read(fixture("torch/dict.pt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pt");
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 0xff;
        std::fs::write(&path, changed).unwrap();
        // Either a byte that means nothing, or an error: what matters is that it returns.
        let _ = torch::read(&path);
    }
}
