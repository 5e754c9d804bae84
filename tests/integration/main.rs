//! Tests of muster from outside, in one program: `cargo test --test integration`, and `MODULE::`
//! for a part.
//!
//! | module | what it tests |
//! |---|---|
//! | `architecture` | which module imports which |
//! | `commands` | the commands that ask a running server |
//! | `differential` | generated questions, against an oracle |
//! | `docs` | that documents match the tree |
//! | `explain` | what `explain` says, against what is answered |
//! | `hot_path` | that answering allocates nothing |
//! | `reload` | changes of the configuration while the binary answers |
//! | `routing` | which client gets which instances |
//! | `scripts` | updates in, questions, answers out: `tests/scripts` |
//! | `server` | a whole server, asked over its sockets |

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, prints what it measured, and has no outside"
)]

mod architecture;
mod commands;
mod differential;
mod docs;
mod explain;
mod hot_path;
mod reload;
mod routing;
mod scripts;
mod server;
mod state;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
