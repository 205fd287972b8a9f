//! Units of several measures.

use crate::table::Heading;

/// Nats a token.
pub const NATS: Heading = Heading::unit("nats/token");
