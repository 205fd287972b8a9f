//! Lists of whole numbers as Parquet packs them by their differences: how many there are and where they end.

use super::thrift;

/// The count of numbers that a list states, and the bytes after it; none where it is damaged.
pub(super) fn skip(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = || thrift::unsigned(&mut bytes).ok();
    let (block, parts, count, _first) = (number()?, number()?, number()?, number()?);
    let part = block.checked_div(parts)?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let _least = thrift::unsigned(&mut bytes).ok()?;
        let (widths, rest) = bytes.split_at_checked(usize::try_from(parts).ok()?)?;
        bytes = rest;
        for &width in widths {
            // The last parts of the last block are not there.
            if left == 0 {
                break;
            }
            if part == 0 {
                return None;
            }
            let length = part.checked_mul(width.into())? / 8;
            bytes = bytes.get(usize::try_from(length).ok()?..)?;
            left = left.saturating_sub(part);
        }
    }
    Some((count, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_left_behind_at_its_end() {
        // Blocks of 128 in 4 parts; 1 value.
        assert_eq!(skip(b"\x80\x01\x04\x01\x02rest"), Some((1, &b"rest"[..])));
        // 34 values: a block whose first two parts of 32 have 0 and 1 bits a value.
        let two = [&b"\x80\x01\x04\x22\x02\x00\x00\x01\x09\x09"[..], b"abcd", b"rest"].concat();
        assert_eq!(skip(&two), Some((34, &b"rest"[..])));
        for cut in 0..two.len() - 4 {
            assert_eq!(skip(&two[..cut]), None, "{cut}");
        }
        // Without end.
        assert_eq!(skip(b"\x00\x04\xff\xff\xff\xff\x7f\x02\x00\x00\x00\x00\x00\x00"), None);
        assert_eq!(skip(b"\x80\x01\x00\xff\x7f\x02"), None);
    }
}
