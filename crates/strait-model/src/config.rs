//! (to be written)
/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {}
impl Problem {
    /// The remedy.
    pub fn hint(&self) -> String {
        match *self {}
    }
}
/// x
pub struct Config;
/// x
#[derive(Clone, Copy, Debug)]
pub enum Activation {
    /// x
    Silu,
    /// x
    GeluTanh,
}
