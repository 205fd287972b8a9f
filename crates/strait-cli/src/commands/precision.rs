//! `--precision`: the precision of matrix products.

use clap::Args;
use strait_model::Precision;

/// `--precision`.
#[derive(Args)]
pub struct PrecisionArgument {
    /// Multiply matrices in f32, or in bf16 with sums in f32: half the memory for the weights, and less time where the
    /// processor has AMX, with slightly other numbers
    #[arg(long, value_name = "P", default_value = "f32", value_parser = precision)]
    pub precision: Precision,
}

fn precision(text: &str) -> Result<Precision, String> {
    let named = Precision::ALL.into_iter().find(|precision| precision.name() == text);
    named.ok_or_else(|| "expected f32 or bf16".into())
}
