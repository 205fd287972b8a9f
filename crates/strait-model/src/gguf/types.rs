//! The types of tensors.

use std::borrow::Cow;

use candle_core::quantized::GgmlDType;

/// Tensor types: the number in the file, the name, and the type where it is supported.
const TYPES: [(u32, &str, Option<GgmlDType>); 33] = [
    (0, "F32", Some(GgmlDType::F32)),
    (1, "F16", Some(GgmlDType::F16)),
    (2, "Q4_0", Some(GgmlDType::Q4_0)),
    (3, "Q4_1", Some(GgmlDType::Q4_1)),
    (6, "Q5_0", Some(GgmlDType::Q5_0)),
    (7, "Q5_1", Some(GgmlDType::Q5_1)),
    (8, "Q8_0", Some(GgmlDType::Q8_0)),
    (10, "Q2_K", Some(GgmlDType::Q2K)),
    (11, "Q3_K", Some(GgmlDType::Q3K)),
    (12, "Q4_K", Some(GgmlDType::Q4K)),
    (13, "Q5_K", Some(GgmlDType::Q5K)),
    (14, "Q6_K", Some(GgmlDType::Q6K)),
    (30, "BF16", Some(GgmlDType::BF16)),
    (9, "Q8_1", None),
    (15, "Q8_K", None),
    (16, "IQ2_XXS", None),
    (17, "IQ2_XS", None),
    (18, "IQ3_XXS", None),
    (19, "IQ1_S", None),
    (20, "IQ4_NL", None),
    (21, "IQ3_S", None),
    (22, "IQ2_S", None),
    (23, "IQ4_XS", None),
    (24, "I8", None),
    (25, "I16", None),
    (26, "I32", None),
    (27, "I64", None),
    (28, "F64", None),
    (29, "IQ1_M", None),
    (34, "TQ1_0", None),
    (35, "TQ2_0", None),
    (39, "MXFP4", None),
    (40, "NVFP4", None),
];

/// The type of that number, if its weights can be read.
pub(super) fn supported_type(number: u32) -> Option<GgmlDType> {
    TYPES.iter().find(|t| t.0 == number).and_then(|t| t.2)
}

/// The name of the type of that number, where it has one.
pub(super) fn type_name(number: u32) -> Cow<'static, str> {
    match TYPES.iter().find(|t| t.0 == number) {
        Some(&(_, name, _)) => name.into(),
        None => format!("number {number}").into(),
    }
}

/// The name of a type as it is known, such as `Q4_K`.
pub(crate) fn dtype_name(dtype: GgmlDType) -> Cow<'static, str> {
    match TYPES.iter().find(|t| t.2 == Some(dtype)) {
        Some(&(_, name, _)) => name.into(),
        None => format!("{dtype:?}").into(),
    }
}

/// True if the weights of a type are plain numbers, not blocks.
pub(crate) fn is_float(dtype: GgmlDType) -> bool {
    dtype.block_size() == 1
}
