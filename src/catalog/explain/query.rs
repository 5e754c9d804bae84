//! What is to be explained.

use std::net::IpAddr;

use hickory_proto::rr::RecordType;

use crate::model::Name;

/// A question to explain.
#[derive(Clone, Debug)]
pub struct ExplainQuery {
    /// The name.
    pub name: Name,
    /// The type of the question.
    pub qtype: RecordType,
    /// The client that would send it.
    pub client: IpAddr,
    /// How many instances are listed at most.
    pub limit: usize,
}
