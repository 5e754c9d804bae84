//! A whole server on loopback, queried over its sockets.

mod access;
mod asking;
mod forward;
mod life;
mod tcp;
mod udp;
