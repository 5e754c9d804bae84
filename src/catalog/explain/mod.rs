//! Explanations: why one client gets the answer it gets for a name.
//!
//! ```text
//!  ExplainQuery ─▶ name ─────▶ position ──▶ service ──▶ verdict ───▶ wanted
//!  (name, type,    (what the   (where in    (routes,    (each        (records that
//!  client)         name is)    a service)   groups)     instance)    the type asks for)
//!
//!  list: pages of services and of instances        words: settings as text
//! ```
//!
//! Explanations use what answers are made from: the same merge, the same
//! [`policy::plan`](crate::policy::plan()) with a copy of its memory, the same
//! [`Service::position`](super::Service::position), [`Client::check`](super::Client::check) and
//! [`contribution`](super::records::contribution). So each rule exists once, and
//! explaining changes nothing. The answer itself comes from the answer path, while the catalog
//! applies no updates. A property test checks that explanations and answers agree.
//!
//! Imports its siblings in `catalog`, and `config`, `model` and `policy`.
//!
//! Rejected: explaining from the compiled pools. They do not record why an instance is missing.

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
