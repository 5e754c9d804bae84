//! Settings: what the configuration says about answering, apart from the namespaces.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;

use super::{access::AccessControl, special::Specials};
use crate::{forward::Forwarder, model::Network};

/// What a decision depends on besides the request and the snapshot.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The answer to `version.bind`. `None`: REFUSED.
    pub(super) version: Option<String>,
    /// Who may ask, and how much.
    pub(super) access: Arc<AccessControl>,
    /// Names that are answered from constants if no namespace has them.
    pub(super) specials: ArcSwap<Specials>,
    /// Forwarders whose client subnets count.
    pub(super) trusted: Vec<Network>,
    /// Asks upstreams for external names. `None`: they are refused.
    pub(super) forwarder: Option<Arc<Forwarder>>,
}

impl Settings {
    /// The forwarder, if any suffix is forwarded.
    pub(super) fn active_forwarder(&self) -> Option<&Arc<Forwarder>> {
        self.forwarder.as_ref().filter(|forwarder| forwarder.is_active())
    }

    /// Whether the client subnets of this forwarder count.
    pub(super) fn trusts(&self, forwarder: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(forwarder))
    }
}
