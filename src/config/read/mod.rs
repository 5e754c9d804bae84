//! Readers: from tables to the types of the schema, one file a section.

mod access;
mod answer_defaults;
mod cache;
mod check;
mod context;
mod failover;
mod filter;
mod forward;
mod import;
mod listen;
mod locality;
mod member;
mod resolve;
mod route;
mod server;
mod service;
mod sources;
mod static_member;
mod subset_names;
mod zone;

pub(super) use forward::warn_of_own;
pub(super) use resolve::resolve;
pub(super) use server::{ZonePaths, server};
pub(super) use zone::{ZoneFile, zone};
