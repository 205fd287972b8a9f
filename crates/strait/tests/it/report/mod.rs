//! The report: its words for every kind of outcome, and its page in a real browser.

mod browser;
mod conclusion;
mod demo;
mod fixture;
mod scalars;
mod trajectory;
