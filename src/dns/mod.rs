//! The answer path: a packet becomes a request, a decision, and bytes.
//!
//! ```text
//!  udp/ ─┐                                                                          ┌─▶ udp/
//!        ├▶ access ─▶ request ─▶ exchange ─▶ decide ─▶ Decision ─┬─▶ encode/ ─▶ RRL ┤
//!  tcp ──┘  (ACL)     (parse)    (client,    │ find             │                  └─▶ tcp
//!                                 view,      │ select_pool      └─▶ forward ─▶ deferred, cname ─▶ …
//!                                 lookup)    │ special                 (another task, later)
//!                                            └ browse, pointers
//! ```
//!
//! | step | file | what it is |
//! |---|---|---|
//! | 1 | [`udp`], [`tcp`] | sockets: bytes in, bytes out |
//! | 2 | [`responder`] | the facade: one request or a batch through all steps |
//! | 3 | [`access`] | who may ask; rate limits, cookies |
//! | 4 | [`request`], [`subnet`] | a packet, parsed once |
//! | 5 | [`exchange`] | one request with its client, view and lookup; what its options say |
//! | 6 | [`decide`] | the [`Decision`](records::Decision): pure, shared with explanations |
//! | 7 | [`find`], [`select_pool`], [`special`], [`pointers`], [`browse`] | what our own data has at a name |
//! | 8 | [`encode`] | a decision, written within the client's limit |
//! | 9 | [`deferred`], [`cname`] | requests that wait for an upstream |
//! | – | [`dry_run`], [`trace`] | the same decision, explained |
//! | – | [`rotation`] | the cursors, the only thing that a query changes |
//!
//! Between receiving and sending over UDP, nothing waits, locks, allocates or logs, unless an upstream
//! must be queried.
//!
//! Rejected: hickory-server's own loop and `Catalog` (13 µs a query, a scan of the zone on NXDOMAIN, one
//! query after the other on TCP). They serve as an oracle in the tests.
//!
//! Imports `wire`, `model`, `config`, `catalog`, `forward` and `telemetry`; never a source.

mod access;
mod browse;
mod cname;
mod decide;
mod deferred;
mod dry_run;
mod encode;
mod exchange;
mod find;
mod pointers;
mod records;
mod request;
mod responder;
mod rotation;
mod select_pool;
mod settings;
mod special;
mod subnet;
pub mod tcp;
mod trace;
pub mod udp;

pub use access::AccessControl;
pub use deferred::{PendingReply, ReplySender};
pub use exchange::Context;
pub use responder::{Responder, Response};
pub use rotation::Rotation;
pub use special::Specials;
