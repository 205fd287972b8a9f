use proptest::prelude::*;

use super::{machine::view_fits, *};

const REBUILD: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n";
const STORAGE: &[u8] =
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x08tQ";

fn join(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

/// A tensor of eight numbers whose arguments after the storage are given.
fn tensor(arguments: &[u8]) -> Vec<u8> {
    join(&[REBUILD, b"(", STORAGE, arguments, b"tR."])
}

#[test]
fn plain_values() {
    let check = |pickle: &[u8], expected: Value<TensorRef>| {
        assert_eq!(parse(pickle).unwrap(), expected, "{pickle:?}");
    };
    check(b"\x80\x02N.", Value::None);
    check(b"\x88.", Value::Bool(true));
    check(b"\x89.", Value::Bool(false));
    check(b"K\xff.", Value::Int(255));
    check(b"M\x01\x02.", Value::Int(513));
    check(b"J\xff\xff\xff\xff.", Value::Int(-1));
    check(b"\x8a\x00.", Value::Int(0));
    check(b"\x8a\x01\xff.", Value::Int(-1));
    check(b"\x8a\x02\xff\x00.", Value::Int(255));
    check(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", Value::Int(i64::MIN));
    check(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5));
    check(b"X\x02\x00\x00\x00\xc3\xa9.", Value::Str("é".into()));
    check(b"\x8c\x01a.", Value::Str("a".into()));
    check(b"\x95\x02\x00\x00\x00\x00\x00\x00\x00N.", Value::None);
    let one_two = || vec![Value::Int(1), Value::Int(2)];
    check(b"K\x01K\x02\x86.", Value::Tuple(one_two()));
    check(b"(K\x01K\x02t.", Value::Tuple(one_two()));
    check(b"](K\x01K\x02e.", Value::List(one_two()));
    check(b"]K\x01aK\x02a.", Value::List(one_two()));
    check(b"ccollections\nOrderedDict\n)RK\x01K\x02s.", Value::Dict(vec![(Value::Int(1), Value::Int(2))]));
}

#[test]
fn a_container_is_filled_after_it_was_remembered() {
    // x = []; y = (x, x); x.append(1)
    let shared = parse(b"]q\x00h\x00h\x00\x86q\x01h\x00K\x01ah\x01.").unwrap();
    let one = Value::List(vec![Value::Int(1)]);
    assert_eq!(shared, Value::Tuple(vec![one.clone(), one]));
    // The same with the numbering of protocol 4.
    let again = parse(b"]\x94h\x00h\x00\x86\x94h\x00K\x01ah\x01.").unwrap();
    assert_eq!(again, shared);
}

#[test]
fn the_later_of_two_equal_keys_counts() {
    let dict = parse(b"}(\x8c\x01aK\x01\x8c\x01aK\x02u.").unwrap();
    assert_eq!(dict.get("a"), Some(&Value::Int(2)));
}

#[test]
fn tensors() {
    let good = parse(&tensor(b"K\x02K\x03K\x01\x86K\x01K\x63\x86")).unwrap();
    let Value::Tensor(good) = good else {
        panic!("{good:?}");
    };
    assert_eq!(good.storage.number, Number::F32);
    assert_eq!((good.storage.key.as_str(), good.storage.len), ("0", 8));
    assert_eq!((good.offset, good.shape.as_slice()), (2, &[3, 1][..]));
    assert_eq!(good.strides, [1, 0], "a stride along one value means nothing");
    assert_eq!((good.len(), good.is_empty()), (3, false));

    let detail = |arguments: &[u8]| match parse(&tensor(arguments)).unwrap_err() {
        Problem::Arguments { detail, .. } => detail,
        other => panic!("{other}"),
    };
    assert_eq!(detail(b""), "fewer than four");
    assert!(detail(b"J\xff\xff\xff\xff))").starts_with("the offset"));
    assert!(detail(b"K\x00K\x01)").starts_with("the shape"));
    assert!(detail(b"K\x00)K\x01").starts_with("the strides"));
    assert!(detail(b"K\x00K\x01\x85)").starts_with("1 sizes and 0 strides"));

    let refused = join(&[REBUILD, b"(K\x01K\x00))tR."]);
    assert!(parse(&refused).unwrap_err().to_string().contains("not a storage"));
}

#[test]
fn views() {
    assert!(view_fits(0, &[8], &[1], 8));
    assert!(view_fits(0, &[2, 4], &[1, 2], 8));
    assert!(view_fits(7, &[], &[], 8));
    assert!(view_fits(8, &[0, 3], &[1, 1], 8));
    assert!(!view_fits(9, &[0, 3], &[1, 1], 8));
    assert!(!view_fits(1, &[8], &[1], 8));
    assert!(!view_fits(0, &[9], &[0], 8), "an expanded tensor");
    assert!(!view_fits(0, &[2, 4], &[usize::MAX, 1], 8));
    assert!(!view_fits(usize::MAX, &[2], &[1], 8));
    assert!(!view_fits(0, &[usize::MAX, 2, 0], &[1, 1, 1], 8));
}

#[test]
fn each_malformation_has_its_problem() {
    let check = |pickle: &[u8], expected: &str| {
        let problem = parse(pickle).unwrap_err().to_string();
        assert_eq!(problem, expected, "{pickle:?}");
    };
    check(b"", "the pickle ends at byte 0, inside or before an opcode");
    check(b"N", "the pickle ends at byte 1, inside or before an opcode");
    check(b"X\xff\xff\xff\xffa", "the pickle ends at byte 6, inside or before an opcode");
    check(b"ctorch\n", "the pickle ends at byte 7, inside or before an opcode");
    check(b"\x80\x06.", "pickle protocol 6 at byte 0 is not known");
    check(b"NP", "pickle opcode PERSID (0x50) at byte 1 is not allowed");
    check(b"\x82\x01.", "pickle opcode EXT1 (0x82) at byte 0 is not allowed");
    check(b"}}b.", "pickle opcode BUILD (0x62) at byte 2 is not allowed");
    check(b"\xff", "pickle opcode unknown (0xff) at byte 0 is not allowed");
    check(b"cos\nsystem\n.", "pickle names the global `os.system` at byte 0, which is not allowed");
    check(b"})R.", "pickle calls a dict at byte 2, which is not allowed");
    check(b"ccollections\nOrderedDict\n]R.", "pickle calls a list at byte 26, which is not allowed");
    check(
        b"ccollections\nOrderedDict\nN\x85R.",
        "pickle calls `collections.OrderedDict` at byte 27 with other arguments than PyTorch writes: there should \
         be none",
    );
    check(
        b"ctorch._utils\n_rebuild_parameter\n)R.",
        "pickle calls `torch._utils._rebuild_parameter` at byte 34 with other arguments than PyTorch writes: the \
         first is not a tensor",
    );
    check(
        b"NQ.",
        "pickle calls `persistent_load` at byte 1 with other arguments than PyTorch writes: not (\"storage\", \
         class, key, device, length)",
    );
    check(b"NNa.", "pickle opcode APPEND at byte 2 acts on None, which is not a list");
    check(b"N(NNu.", "pickle opcode SETITEMS at byte 4 uses None as a key");
    check(b"N(K\x01Nu.", "pickle opcode SETITEMS at byte 5 acts on None, which is not a dict");
    check(b"}(Nu.", "pickle opcode SETITEMS at byte 3 needs more than is on the stack");
    check(b".", "pickle opcode STOP at byte 0 needs more than is on the stack");
    check(b"N(\x85.", "pickle opcode TUPLE1 at byte 2 needs more than is on the stack");
    check(b"t.", "pickle opcode TUPLE at byte 0 needs more than is on the stack");
    check(b"q\x00.", "pickle opcode BINPUT at byte 0 needs more than is on the stack");
    check(b"h\x07.", "pickle opcode BINGET at byte 0 asks for memo entry 7, which was never put");
    check(b"\x8c\x01\xff.", "the string at byte 0 of the pickle is not UTF-8");
    check(
        b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.",
        "the whole number at byte 0 of the pickle has 9 bytes, more than 8",
    );
    check(b"ctorch\nFloatStorage\n.", "the pickle holds a class or function where a value should be");
    check(
        &[b"N".repeat(MAX_STACK + 1), b".".to_vec()].concat(),
        "the pickle builds more than 65536 values on its stack",
    );
    check(&b"(".repeat(MAX_STACK + 1), "the pickle builds more than 65536 open marks");
    check(&[b"]".to_vec(), b"Na".repeat(MAX_OBJECTS)].concat(), "the pickle builds more than 262144 objects");
    check(&vec![b'N'; MAX_BYTES + 1], "the pickle has 16777217 bytes, more than the limit of 16777216");
}

#[test]
fn shared_text_is_no_memory() {
    // Eight thousand places show one string of a million letters.
    let text = [b"X".to_vec(), 1_000_000u32.to_le_bytes().to_vec(), b"a".repeat(1_000_000)].concat();
    let pickle = [text, b"q\x00](".to_vec(), b"h\x00".repeat(8000), b"e.".to_vec()].concat();
    let what = "objects once shared ones are unfolded";
    assert_eq!(parse(&pickle).unwrap_err(), Problem::TooMany { what, limit: MAX_OBJECTS });
}

#[test]
fn a_name_cannot_write_to_the_terminal() {
    let pickle = [b"cevil\n\x1b[2J".to_vec(), b"x".repeat(1000), b"\n.".to_vec()].concat();
    let shown = parse(&pickle).unwrap_err().to_string();
    assert!(shown.contains("`evil.\\u{1b}[2Jxxx") && shown.len() < 300, "{shown}");
}

#[test]
fn a_pickle_cut_off_anywhere_is_truncated() {
    let whole = tensor(b"K\x00K\x08\x85K\x01\x85\x89ccollections\nOrderedDict\n)R");
    assert!(parse(&whole).is_ok());
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]).unwrap_err(), Problem::Truncated { offset: length });
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_change_of_an_honest_pickle_does_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut pickle = tensor(b"K\x00K\x08\x85K\x01\x85\x89ccollections\nOrderedDict\n)R");
        for (position, byte) in changes {
            let position = position.index(pickle.len());
            pickle[position] = byte;
        }
        let _ = parse(&pickle);
    }

    #[test]
    fn no_opcodes_do_harm(opcodes in prop::collection::vec(
        prop::sample::select(&b"NK]})(tae\x85\x86suqhRQ.\x93\x94"[..]), 0..100,
    )) {
        let _ = parse(&opcodes);
    }
}
