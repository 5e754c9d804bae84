//! What muster's tests, benchmarks and fuzz targets share.
//!
//! | module | what it has |
//! |---|---|
//! | [`bed`] | a responder with a thousand services, without sockets |
//! | [`namespaces`] | namespaces of every kind as plain lists, and a catalog that knows them |
//! | [`running`] | a whole server in this process, on loopback |
//! | [`process`] | the `muster` binary in a folder of its own, on loopback |
//! | [`wait`] | waiting for a condition instead of for a time |
//!
//! Rejected: files that several programs include by `#[path]`. Each program compiles them for
//! itself, and a part that only one of them uses is dead code in the others.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and shows what it knows"
)]

pub mod bed;
pub mod namespaces;
pub mod process;
pub mod running;
pub mod wait;
