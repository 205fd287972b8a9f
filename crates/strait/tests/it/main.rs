//! The library from outside. One crate of all tests, since each would be linked with everything on its own.

mod chats;
mod check;
mod columns;
mod coverage;
mod data;
mod direction;
mod directions;
mod endpoint;
mod full;
mod intervals;
mod judges;
mod measures;
mod memory;
mod pretraining;
mod reference;
mod repetitions;
mod report;
mod rows;
mod server;
mod study;
mod sweeps;
mod table;
mod technical;
mod threads;
mod train;
mod world;
