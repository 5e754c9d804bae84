//! Probes: whether an instance accepts connections, or answers a request as expected.
//!
//! ```text
//! Prober ─▶ tcp_probe, http_probe (certificate) ─▶ ProbeResult
//!   └─ untried: the instances that cannot be probed now
//! ```
//!
//! Static instances are probed for their health, and instances of other sources for a second opinion.
//! All probes of the process share one [`Prober`], and thus its limits.

mod certificate;
mod http_probe;
mod probe_result;
mod prober;
mod tcp_probe;
mod untried;

#[cfg(test)]
pub(in crate::source) mod fake;

pub(in crate::source) use probe_result::ProbeResult;
pub use prober::Prober;
pub(in crate::source) use untried::UntriedEntry;
