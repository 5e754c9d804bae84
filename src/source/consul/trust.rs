//! Which responses to trust: what a response is compared with.

use super::agent::ConsulResponse;

/// The last trusted response of a query, as far as later ones are compared with it. It survives
/// reconnections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrustedResponse {
    index: u64,
    is_empty: bool,
    filtered: bool,
}

impl TrustedResponse {
    pub(super) fn new(response: &ConsulResponse) -> Self {
        Self { index: response.index, is_empty: response.is_empty(), filtered: response.filtered }
    }

    /// Why `next`, which may come from a server that is behind or from an agent that lost its
    /// stream, needs the leader's confirmation; `None` if it does not.
    ///
    /// A server answers `stale` queries as soon as the leader has contacted it, even if it has not
    /// yet loaded its snapshot and log: then its response is old or empty, with no lag.
    pub(super) fn contradiction(self, next: &ConsulResponse) -> Option<&'static str> {
        if next.index < self.index {
            return Some("the index has gone back");
        }
        (next.is_empty() && !self.is_empty).then_some("no entry is left")
    }

    /// Whether ACLs filtered the response. An empty response after a filtered one is as good as the
    /// one before; after an unfiltered one, the token has lost its permissions.
    pub(super) fn filtered(self) -> bool {
        self.filtered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(index: u64, body: &'static str) -> ConsulResponse {
        ConsulResponse { index, body: body.into(), ..ConsulResponse::default() }
    }

    #[test]
    fn older_and_newly_empty_responses_need_confirmation() {
        let full = TrustedResponse::new(&response(40, "[{}]"));
        assert_eq!(full.contradiction(&response(40, "[{}]")), None);
        assert_eq!(full.contradiction(&response(39, "[{}]")), Some("the index has gone back"));
        assert_eq!(full.contradiction(&response(41, " [ ]\n")), Some("no entry is left"));
        assert_eq!(full.contradiction(&response(41, "{}")), Some("no entry is left"));
        let empty = TrustedResponse::new(&response(40, "null"));
        assert_eq!(empty.contradiction(&response(40, "[]")), None);
        assert_eq!(empty.contradiction(&response(1, "[]")), Some("the index has gone back"));
    }
}
