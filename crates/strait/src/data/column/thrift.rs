//! The part of Thrift's compact protocol that Parquet's headers need.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

/// The deepest nesting of structures.
const MAX_DEPTH: usize = 32;
/// The deepest schema: the library goes down it by recursion.
const MAX_SCHEMA_DEPTH: usize = 256;

/// A field's value, as far as headers need it.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Whole(i64),
    Truth(bool),
    Structure(Fields),
    /// Text, lists and other things that no header is asked for.
    Other,
}

/// A structure's fields with their numbers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(i64, Value)>);

impl Fields {
    /// The whole number in a field.
    pub fn whole(&self, field: i64) -> Option<i64> {
        match self.get(field)? {
            Value::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value in a field.
    pub fn truth(&self, field: i64) -> Option<bool> {
        match self.get(field)? {
            Value::Truth(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The structure in a field.
    pub fn structure(&self, field: i64) -> Option<&Self> {
        match self.get(field)? {
            Value::Structure(fields) => Some(fields),
            _ => None,
        }
    }

    fn get(&self, field: i64) -> Option<&Value> {
        self.0.iter().find(|(number, _)| *number == field).map(|(_, value)| value)
    }
}

/// Reads one structure.
pub(super) fn structure(reader: &mut impl Read) -> io::Result<Fields> {
    fields(reader, 0)
}

fn fields(reader: &mut impl Read, depth: usize) -> io::Result<Fields> {
    let mut fields = Fields::default();
    let mut last = 0;
    while let Some((number, kind)) = field(reader, &mut last)? {
        fields.0.push((number, value(reader, kind, depth)?));
    }
    Ok(fields)
}

/// The next field's number and kind; none at the end of its structure.
fn field(reader: &mut impl Read, last: &mut i64) -> io::Result<Option<(i64, u8)>> {
    let header = byte(reader)?;
    if header & 15 == 0 {
        return Ok(None);
    }
    *last = match header >> 4 {
        0 => signed(reader)?,
        step => last.wrapping_add(step.into()),
    };
    Ok(Some((*last, header & 15)))
}

fn value(reader: &mut impl Read, kind: u8, depth: usize) -> io::Result<Value> {
    if depth > MAX_DEPTH {
        return Err(damaged("structures lie too deep in each other"));
    }
    Ok(match kind {
        1 => Value::Truth(true),
        2 => Value::Truth(false),
        3 => Value::Whole(i64::from(byte(reader)?.cast_signed())),
        4..=6 => Value::Whole(signed(reader)?),
        7 => skip(reader, 8)?,
        8 => {
            let length = unsigned(reader)?;
            skip(reader, length)?
        }
        9 | 10 => {
            let (length, kind) = list(reader)?;
            for _ in 0..length {
                element(reader, kind, depth + 1)?;
            }
            Value::Other
        }
        11 => {
            let length = unsigned(reader)?;
            let kinds = if length > 0 { byte(reader)? } else { 0 };
            for _ in 0..length {
                element(reader, kinds >> 4, depth + 1)?;
                element(reader, kinds & 15, depth + 1)?;
            }
            Value::Other
        }
        12 => Value::Structure(fields(reader, depth + 1)?),
        _ => return Err(damaged("a field is of no kind")),
    })
}

/// An element of a list or map; a truth value is a byte there.
fn element(reader: &mut impl Read, kind: u8, depth: usize) -> io::Result<()> {
    match kind {
        1 | 2 => byte(reader).map(|_| ()),
        kind => value(reader, kind, depth).map(|_| ()),
    }
}

/// A list's length and the kind of its elements.
fn list(reader: &mut impl Read) -> io::Result<(u64, u8)> {
    let header = byte(reader)?;
    let length = match header >> 4 {
        15 => unsigned(reader)?,
        length => length.into(),
    };
    Ok((length, header & 15))
}

fn byte(reader: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

pub(super) fn unsigned(reader: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(reader)?;
        number |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(number);
        }
    }
    Err(damaged("a number does not end"))
}

fn signed(reader: &mut impl Read) -> io::Result<i64> {
    let number = unsigned(reader)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

fn skip(reader: &mut impl Read, length: u64) -> io::Result<Value> {
    match io::copy(&mut reader.take(length), &mut io::sink())? {
        skipped if skipped == length => Ok(Value::Other),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Refuses a file whose schema is so deep that the library's recursion would end the process.
pub(super) fn check_footer(mut file: &File) -> io::Result<()> {
    // The length of the metadata, then the mark.
    const END: u64 = 8;
    let length = file.metadata()?.len();
    if length < END {
        return Ok(());
    }
    file.seek(SeekFrom::Start(length - END))?;
    let mut end = [0; END as usize];
    file.read_exact(&mut end)?;
    let [a, b, c, d, mark @ ..] = end;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    // What is wrong here the library says.
    if &mark != b"PAR1" || footer > length - END {
        return Ok(());
    }
    file.seek(SeekFrom::Start(length - END - footer))?;
    check_schema(&mut BufReader::new(file).take(footer))
}

/// Goes to the schema, which is a list of elements that say how many of those that follow are their own.
fn check_schema(reader: &mut impl Read) -> io::Result<()> {
    const SCHEMA: i64 = 2;
    const CHILDREN: i64 = 5;
    let mut last = 0;
    while let Some((number, kind)) = field(reader, &mut last)? {
        if number != SCHEMA || kind != 9 {
            value(reader, kind, 0)?;
            continue;
        }
        let (length, kind) = list(reader)?;
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..length {
            if kind != 12 {
                return Err(damaged("the schema is no list of structures"));
            }
            while open.pop_if(|left| *left <= 0).is_some() {}
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if let Some(children) = fields(reader, 0)?.whole(CHILDREN).filter(|&children| children > 0) {
                open.push(children);
            }
            if open.len() > MAX_SCHEMA_DEPTH {
                return Err(damaged("the schema is too deep"));
            }
        }
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_the_rest_is_skipped() {
        // 1: 7 (i32), 2: "ab", 3: [true, false], 4: {1: -1}, 5: true, 20: 300 (i64).
        let bytes = b"\x15\x0e\x18\x02ab\x19\x21\x01\x02\x1c\x15\x01\x00\x11\x06\x28\xd8\x04\x00";
        let fields = structure(&mut &bytes[..]).unwrap();
        assert_eq!(fields.whole(1), Some(7));
        assert_eq!(fields.structure(4).unwrap().whole(1), Some(-1));
        assert_eq!(fields.truth(5), Some(true));
        assert_eq!(fields.whole(20), Some(300));
        assert_eq!((fields.whole(2), fields.whole(9)), (None, None));
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for bytes in [
            &b""[..],
            b"\x15",
            b"\x18\x7fab",
            b"\x19\xfc\xff\xff\xff\xff\x0f",
            b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x1d\x00",
            &[0x1c; 1000],
        ] {
            assert!(structure(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_deep_schema_is_refused() {
        let schema = |depth: usize| {
            let mut bytes = vec![0x15, 0x02, 0x19, 0xfc, (depth & 127) as u8 | 128, (depth >> 7) as u8];
            // 4: "a", 5: one child.
            (0..depth).for_each(|_| bytes.extend(b"\x48\x01a\x15\x02\x00"));
            bytes.push(0);
            bytes
        };
        assert!(check_schema(&mut schema(100).as_slice()).is_ok());
        assert!(check_schema(&mut schema(5000).as_slice()).is_err());
    }
}
