//! Explain queries.

use std::net::IpAddr;

use hickory_proto::rr::RecordType;

use crate::model::{Name, StaleMembers};

/// A query to explain.
#[derive(Clone, Debug)]
pub struct ExplainQuery {
    /// The name to look up, which need not exist.
    pub name: Name,
    /// The query type.
    pub qtype: RecordType,
    /// The client that would send the query.
    pub client: IpAddr,
    /// Maximum number of instances to list.
    pub limit: usize,
    /// The members whose state is stale.
    pub stale: StaleMembers,
}
