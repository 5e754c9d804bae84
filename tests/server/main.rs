//! A whole server on loopback, asked over its sockets.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, prints what it measured, and has no outside"
)]

mod access;
mod asking;
mod forward;
mod life;
mod running;
mod tcp;
mod udp;
