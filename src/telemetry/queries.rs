//! What is counted about queries, and by which labels.

use hickory_proto::op::ResponseCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a TCP connection.
    Tcp,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What became of a query: the response code, or that there was no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered, with records or without.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// The name cannot be answered now.
    ServFail,
    /// The query could not be understood.
    FormErr,
    /// The operation code is not known.
    NotImp,
    /// The name is none of ours, or the client may not ask.
    Refused,
    /// The EDNS version is not known (RFC 6891 section 6.1.3).
    BadVers,
    /// The DNS cookie is missing or not good (RFC 7873 section 8).
    BadCookie,
    /// A response code that is none of these, as an upstream sent it.
    Other,
    /// Nothing was sent: what came was no query, too broken to answer, or not to be answered.
    Silence,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::NoError,
        Self::NxDomain,
        Self::ServFail,
        Self::FormErr,
        Self::NotImp,
        Self::Refused,
        Self::BadVers,
        Self::BadCookie,
        Self::Other,
        Self::Silence,
    ];

    /// Its name in metrics and logs: the code's mnemonic in the IANA registry, `other`, or `silence`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::NxDomain => "NXDOMAIN",
            Self::ServFail => "SERVFAIL",
            Self::FormErr => "FORMERR",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
            Self::BadVers => "BADVERS",
            Self::BadCookie => "BADCOOKIE",
            Self::Other => "other",
            Self::Silence => "silence",
        }
    }
}

impl From<ResponseCode> for Outcome {
    fn from(code: ResponseCode) -> Self {
        match code {
            ResponseCode::NoError => Self::NoError,
            ResponseCode::NXDomain => Self::NxDomain,
            ResponseCode::ServFail => Self::ServFail,
            ResponseCode::FormErr => Self::FormErr,
            ResponseCode::NotImp => Self::NotImp,
            ResponseCode::Refused => Self::Refused,
            ResponseCode::BADVERS => Self::BadVers,
            ResponseCode::BADCOOKIE => Self::BadCookie,
            _ => Self::Other,
        }
    }
}

/// Why a query was not answered as it would have been for another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restriction {
    /// The client is in `deny`.
    Denied,
    /// The client is not in `allow`.
    NotAllowed,
    /// The client asked too often.
    TooManyQueries,
    /// The query was too long.
    TooLong,
    /// There was no good cookie where one is required.
    NoCookie,
    /// Too many equal responses went to its network: this one was not sent.
    ResponseDropped,
    /// The same, but a short one went out instead.
    ResponseTruncated,
}

impl Restriction {
    /// Every restriction.
    pub const ALL: [Self; 7] = [
        Self::Denied,
        Self::NotAllowed,
        Self::TooManyQueries,
        Self::TooLong,
        Self::NoCookie,
        Self::ResponseDropped,
        Self::ResponseTruncated,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not_allowed",
            Self::TooManyQueries => "too_many_queries",
            Self::TooLong => "too_long",
            Self::NoCookie => "no_cookie",
            Self::ResponseDropped => "response_dropped",
            Self::ResponseTruncated => "response_truncated",
        }
    }
}

/// The metrics of the DNS side.
#[derive(Debug)]
pub(super) struct QueryMetrics {
    counts: [[IntCounter; Outcome::ALL.len()]; Transport::ALL.len()],
    pub(super) restricted: [IntCounter; Restriction::ALL.len()],
    pub(super) truncated: IntCounter,
    pub(super) ambiguous: IntCounter,
    pub(super) connections: IntGauge,
    pub(super) refused: IntCounter,
}

impl QueryMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counts = IntCounterVec::new(
            Opts::new(
                "muster_queries_total",
                "Queries, by the transport they came over and the response code.",
            ),
            &["transport", "rcode"],
        )?;
        let restricted = IntCounterVec::new(
            Opts::new(
                "muster_queries_restricted_total",
                "Queries that were not answered as for other clients, by the reason.",
            ),
            &["reason"],
        )?;
        let truncated = IntCounter::new(
            "muster_responses_truncated_total",
            "Responses over UDP with the TC bit, after which a client asks again over TCP.",
        )?;
        let ambiguous = IntCounter::new(
            "muster_clients_ambiguous_total",
            "Queries that a route would be for if their address were one client's alone; they matched no such route.",
        )?;
        let connections = IntGauge::new(
            "muster_tcp_connections",
            "TCP connections that are open now, over all addresses.",
        )?;
        let refused = IntCounter::new(
            "muster_tcp_connections_refused_total",
            "TCP connections that were closed at once because too many were open.",
        )?;
        registry.register(Box::new(counts.clone()))?;
        registry.register(Box::new(restricted.clone()))?;
        registry.register(Box::new(truncated.clone()))?;
        registry.register(Box::new(ambiguous.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        let counts = Transport::ALL.map(|transport| {
            Outcome::ALL.map(|outcome| counts.with_label_values(&[transport.as_str(), outcome.as_str()]))
        });
        let restricted = Restriction::ALL.map(|reason| restricted.with_label_values(&[reason.as_str()]));
        Ok(Self { counts, restricted, truncated, ambiguous, connections, refused })
    }

    #[inline]
    pub(super) fn restriction(&self, reason: Restriction) -> &IntCounter {
        &self.restricted[reason as usize]
    }

    #[inline]
    pub(super) fn counter(&self, transport: Transport, outcome: Outcome) -> &IntCounter {
        &self.counts[transport as usize][outcome as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_all_are_in_the_order_of_the_variants() {
        assert!(Transport::ALL.iter().enumerate().all(|(at, transport)| *transport as usize == at));
        assert!(Restriction::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
    }

    #[test]
    fn every_pair_has_a_counter_of_its_own() {
        let metrics = QueryMetrics::register(&Registry::new()).unwrap();
        metrics.counter(Transport::Udp, Outcome::NxDomain).inc();
        for transport in Transport::ALL {
            for outcome in Outcome::ALL {
                let expected = u64::from(transport == Transport::Udp && outcome == Outcome::NxDomain);
                assert_eq!(metrics.counter(transport, outcome).get(), expected, "{transport:?} {outcome:?}");
            }
        }
    }
}
