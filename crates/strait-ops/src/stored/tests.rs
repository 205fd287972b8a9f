use std::{io::Write, sync::Arc};

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use memmap2::Mmap;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Stored;

pub const TYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Random blocks, whose factors are small numbers, of one type and shape.
pub fn bytes(dtype: GgmlDType, seed: u64, (rows, width): (usize, usize)) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; rows * width / dtype.block_size() * dtype.type_size()];
    rng.fill_bytes(&mut bytes);
    let mut number = || rng.random_range(-1f32..1.0);
    let factors: &[usize] = match dtype {
        GgmlDType::F32 => {
            bytes.chunks_mut(4).for_each(|b| b.copy_from_slice(&number().to_le_bytes()));
            &[]
        }
        GgmlDType::BF16 => {
            bytes.chunks_mut(2).for_each(|b| b.copy_from_slice(&bf16::from_f32(number()).to_le_bytes()));
            &[]
        }
        GgmlDType::Q4_1 | GgmlDType::Q5_1 | GgmlDType::Q4K | GgmlDType::Q5K => &[0, 2],
        GgmlDType::Q2K => &[80, 82],
        GgmlDType::Q3K => &[108],
        GgmlDType::Q6K => &[208],
        _ => &[0],
    };
    for block in bytes.chunks_mut(dtype.type_size()) {
        for &at in factors {
            block[at..at + 2].copy_from_slice(&f16::from_f32(number() * 0.1).to_le_bytes());
        }
    }
    bytes
}

pub fn stored(dtype: GgmlDType, seed: u64, shape: (usize, usize), paired: Option<usize>) -> Stored {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[0; 32]).unwrap();
    file.write_all(&bytes(dtype, seed, shape)).unwrap();
    // SAFETY: nobody else has the file.
    let map = unsafe { Mmap::map(&file) }.unwrap();
    Stored::new(Arc::new(map), 32, dtype, shape, paired).unwrap()
}

/// All numbers, as candle dequantises them.
pub fn by_candle(dtype: GgmlDType, bytes: &[u8], count: usize) -> Vec<f32> {
    let numbers = dtype.from_data(bytes.to_vec().into()).dequantize(count).unwrap();
    numbers.as_slice::<f32>().unwrap().to_vec()
}

pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn pieces_are_those_of_the_whole() {
    let shape = (5, 768);
    for dtype in TYPES {
        let matrix = stored(dtype, 1, shape, None);
        let whole = by_candle(dtype, &bytes(dtype, 1, shape), 5 * 768);
        for row in 0..5 {
            for (start, end) in [(0, 768), (32, 64), (224, 352), (736, 768), (640, 768)] {
                let mut piece = vec![f32::NAN; end - start];
                matrix.read(row..row + 1, start..end, &mut piece, end - start);
                assert_eq!(bits(&piece), bits(&whole[row * 768..][start..end]), "{dtype:?}");
            }
        }
        assert_eq!(
            bits(&matrix.of_rows(&[3]).unwrap().flatten_all().unwrap().to_vec1().unwrap()),
            bits(&whole[3 * 768..][..768])
        );
        assert_eq!(matrix.first_not_finite(), None);
    }
}

#[test]
fn any_f16_is_a_factor() {
    for bits in 0..=u16::MAX {
        let (expected, found) = (f16::from_bits(bits).to_f32(), super::block::factor(&bits.to_le_bytes(), 0));
        assert!(expected.to_bits() == found.to_bits() || expected.is_nan() && found.is_nan(), "{bits:x}");
    }
}

#[test]
fn rotary_pairs_are_taken_apart() {
    let matrix = stored(GgmlDType::Q8_0, 2, (16, 32), Some(8));
    let whole = by_candle(GgmlDType::Q8_0, &bytes(GgmlDType::Q8_0, 2, (16, 32)), 16 * 32);
    let found = matrix.of_rows(&(0..16).collect::<Vec<_>>()).unwrap().to_vec2::<f32>().unwrap();
    for (row, own) in [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15].into_iter().enumerate() {
        assert_eq!(found[row], whole[own * 32..][..32]);
    }
}

#[test]
fn what_is_not_finite_is_found_where_it_is() {
    let (shape, mut file) = ((3, 256), tempfile::tempfile().unwrap());
    for (dtype, at) in [(GgmlDType::Q6K, 210 + 208), (GgmlDType::Q8_0, 8 * 34 + 34), (GgmlDType::BF16, 512)] {
        let mut bytes = bytes(dtype, 3, shape);
        bytes[at..at + 2].fill(0xff);
        file.set_len(0).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file.write_all(&bytes).unwrap();
        // SAFETY: nobody else has the file, and it is not written to while it is mapped.
        let map = unsafe { Mmap::map(&file) }.unwrap();
        let matrix = Stored::new(Arc::new(map), 0, dtype, shape, None).unwrap();
        let (place, number) = matrix.first_not_finite().unwrap();
        assert!(!number.is_finite() && (256..512).contains(&place), "{dtype:?} at {place}");
    }
}

#[test]
fn what_is_not_in_the_file_is_refused() {
    let map = Arc::clone(&stored(GgmlDType::Q8_0, 1, (4, 64), None).file);
    let new = |offset, shape, paired| Stored::new(Arc::clone(&map), offset, GgmlDType::Q8_0, shape, paired);
    assert!(new(32, (4, 64), None).is_some() && new(32, (4, 64), Some(4)).is_some());
    for (offset, shape, paired) in [
        (33, (4, 64), None),
        (32, (5, 64), None),
        (32, (4, 65), None),
        (usize::MAX, (4, 64), None),
        (32, (usize::MAX, 64), None),
        (32, (4, 64), Some(3)),
        (32, (4, 64), Some(8)),
        (32, (4, 64), Some(0)),
    ] {
        assert!(new(offset, shape, paired).is_none());
    }
}

#[test]
fn the_distance_to_values_is_that_to_the_whole() {
    // Several pieces, the last of which is short.
    let shape = (301, 768);
    for dtype in TYPES {
        let matrix = stored(dtype, 3, shape, None);
        let numbers = by_candle(dtype, &bytes(dtype, 3, shape), 301 * 768);
        let values: Vec<f32> = numbers.iter().zip(0..).map(|(x, i)| x + (i % 5) as f32 * 0.125).collect();
        let expected: f64 = values.iter().zip(&numbers).map(|(x, y)| f64::from(x - y).powi(2)).sum();
        assert!((matrix.squared_distance(&values) - expected).abs() < 1e-9 * expected, "{dtype:?}");
    }
}
