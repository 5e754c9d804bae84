//! Forwarding: queries for external names go to upstreams, and their answers are cached.

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
    message::may_pass,
    stored_answer::AnswerSummary,
    upstream::SetupError,
    waiting_client::Reply,
};
