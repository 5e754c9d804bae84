//! Explaining: why a name is answered as it is, to one client.
//!
//! ```text
//!  query (name, type, client) ─▶ name ─▶ at ─▶ service ─▶ verdict ─▶ wanted     words
//!                                (what    (where (routes,   (each      (what a
//!                                it is)   in a   groups)    instance)  question
//!                                         service)                     wants)
//!  list: pages of services and instances
//! ```
//!
//! Explanations are made from what answers are made from: the same merge, the same
//! [`policy::plan`](crate::policy::plan()) with a copy of its memory, the same
//! [`Service::position`](super::Service::position), [`Client::check`](super::Client::check) and
//! [`contribution`](super::records::contribution). So a rule stands once, and looking changes nothing.
//! The answer itself comes from the answer path, while the catalog stands still. A property test holds
//! the two together.
//!
//! Rejected: explaining from the compiled pools. They no longer know why an instance is not in them.

mod list;
mod name;
mod position;
mod query;
mod service;
mod verdict;
mod wanted;
mod words;

pub use query::ExplainQuery;

#[cfg(test)]
mod tests;
