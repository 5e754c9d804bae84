//! The answer path: a packet becomes a request, a decision, and bytes.
//!
//! ```text
//!  udp/ ─┐                                                       ┌─▶ encode ─▶ RRL ─▶ udp/, tcp
//!        ├▶ access ─▶ request ─▶ exchange ─▶ decide ─▶ Decision ─┤
//!  tcp ──┘  (ACL)     (parse)    (client,    │ find              └─▶ forward ─▶ deferred, cname
//!                                 view,      │ select_pool           (another task, later)
//!                                 lookup)    │ special
//!                                            └ browse, pointers
//! ```
//!
//! | step | file | content |
//! |---|---|---|
//! | 1 | [`udp`], [`tcp`] | sockets: bytes in, bytes out |
//! | 2 | [`responder`] | the facade: one request or a batch through all steps |
//! | 3 | [`access`] | access control, rate limits, cookies |
//! | 4 | [`request`], [`subnet`] | a packet, parsed once |
//! | 5 | [`exchange`] | one request with its client, view and lookup; its cookie and subnet |
//! | 6 | [`decide`] | the [`Decision`](records::Decision): pure, shared with explanations |
//! | 7 | [`find`], [`select_pool`], [`special`], [`pointers`], [`browse`] | our data for a name |
//! | 8 | [`encode`] | a decision, written within the client's limit |
//! | 9 | [`deferred`], [`cname`] | requests that wait for an upstream |
//! | – | [`dry_run`], [`trace`] | the same decision, explained |
//! | – | [`rotation`] | the cursors, the only state that a query changes |
//!
//! Over UDP, nothing between receiving and sending waits, locks, allocates or logs, unless the
//! request must go to an upstream.
//!
//! Rejected: hickory-server's own loop and `Catalog` (13 µs a query, a scan of the zone on
//! NXDOMAIN, and one query after the other on TCP). They serve as an oracle in the tests.
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
