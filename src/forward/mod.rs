//! Forwarding: queries for external names go to upstreams, and their answers are cached.
//!
//! ```text
//!  DNS worker                              engine's tasks
//!                                         ┌───────────────────────────────────────┐
//!  ClientQuery ──▶ Forwarder::answer      │ Engine: is an equal query in flight?  │
//!                    │ hit     │ miss     │  yes: wait for its answer             │
//!                    ▼         ▼          │  no: resolve ──▶ UpstreamClient ──────┼──▶ network
//!                 client    Forwarder ────┼─ queue ─▶        │                    │
//!                           ::forward     │                  ▼ StoredAnswer       │
//!  client ◀────── AnswerCallback ─────────┼──────── WaitingClient, AnswerCache    │
//!                                         └───────────────────────────────────────┘
//! ```
//!
//! - `client_query`, `cache_key`: a client's query, and the key that its answer is stored under.
//! - `forwarder`, `shared`: what DNS workers call, and the state that they share with the tasks.
//! - `cache`, `stored_answer`: answers as bytes, written for each client with its ID and letter
//!   case.
//! - `engine`, `in_flight`, `waiting_client`: equal queries are one upstream query, whose answer
//!   all of their clients get. This also ends forwarding loops: a query that comes back waits for
//!   itself.
//! - `rules`, `resolve`: the upstreams for a name, and trying them until one answers.
//! - `upstream_query`, `upstream`: the query as sent, and one client for each upstream.
//! - `upkeep`, `probe`, `resolv_conf`: probes of upstreams, and files that name upstreams.
//! - `message`: stepping over records, which pass through undecoded.
//!
//! A hit is written on the worker's thread. A miss goes with its [`AnswerCallback`] over a bounded
//! queue to the tasks, so a slow upstream never blocks other queries.
//!
//! Imports [`crate::config`], [`crate::model`], [`crate::telemetry`] and [`crate::wire`]. The
//! answer path (`dns`) calls it. Rejected: hickory-net's clients. They encode and decode every
//! message, take some thirty seconds to build, and leave ports, retries, health and coalescing to
//! us.

mod cache;
mod cache_key;
mod client_query;
mod engine;
mod forwarder;
mod in_flight;
mod message;
mod probe;
mod resolv_conf;
mod resolve;
mod rules;
mod shared;
mod shares;
mod stored_answer;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upkeep;
mod upstream;
mod upstream_query;
mod waiting_client;

pub use self::{
    client_query::ClientQuery,
    engine::Engine,
    forwarder::{Forwarder, Forwarding},
    shares::Requester,
    stored_answer::AnswerSummary,
    upstream::SetupError,
    waiting_client::AnswerCallback,
};
