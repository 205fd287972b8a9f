//! x
/// x
pub struct Decoder;
