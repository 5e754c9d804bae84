//! Settings: the configuration that decisions depend on, apart from the namespaces.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;

use super::{access::AccessControl, special::Specials};
use crate::{forward::Forwarder, model::Network};

/// What a decision depends on besides the request and the snapshot.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The answer to `version.bind`. `None`: REFUSED.
    pub(super) version: Option<String>,
    /// Access control and rate limits.
    pub(super) access: Arc<AccessControl>,
    /// Special names: answered from constants unless a namespace has them.
    pub(super) specials: ArcSwap<Specials>,
    /// Forwarders whose EDNS Client Subnet is trusted.
    pub(super) trusted: Vec<Network>,
    /// Resolves external names through upstreams. `None`: they are refused.
    pub(super) forwarder: Option<Arc<Forwarder>>,
}

impl Settings {
    /// The forwarder, if at least one suffix is forwarded.
    #[inline]
    pub(super) fn active_forwarder(&self) -> Option<&Arc<Forwarder>> {
        self.forwarder.as_ref().filter(|forwarder| forwarder.is_active())
    }

    /// Whether this forwarder's EDNS Client Subnet is trusted.
    pub(super) fn trusts(&self, forwarder: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(forwarder))
    }
}
