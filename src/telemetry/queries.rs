//! Metrics of client queries, and the values of their labels.

use hickory_proto::op::ResponseCode;
use prometheus::{IntCounter, IntGauge, Registry};

use super::register::Register;

/// The transport that a query came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A TCP connection.
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

/// The result of a query: the response code, or no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryOutcome {
    /// NOERROR, with or without records.
    NoError,
    /// NXDOMAIN: the name does not exist.
    NxDomain,
    /// SERVFAIL: the name cannot be answered now.
    ServFail,
    /// FORMERR: the query is malformed.
    FormErr,
    /// NOTIMP: the opcode is not supported.
    NotImp,
    /// REFUSED: the name is external and not forwarded, or the client is not allowed.
    Refused,
    /// BADVERS: the EDNS version is not supported (RFC 6891 section 6.1.3).
    BadVers,
    /// BADCOOKIE: the DNS cookie is missing or invalid (RFC 7873 section 8).
    BadCookie,
    /// Another response code of an upstream.
    Other,
    /// No response: the packet was not a query, too broken to answer, or dropped on purpose.
    NoResponse,
}

impl QueryOutcome {
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
        Self::NoResponse,
    ];

    /// Its name in metrics and logs: the code's mnemonic in the IANA registry, `other` or
    /// `no_response`.
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
            Self::NoResponse => "no_response",
        }
    }
}

impl From<ResponseCode> for QueryOutcome {
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

/// Why a query was refused, dropped or limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restriction {
    /// The client is in `deny`.
    Denied,
    /// The client is not in `allow`.
    NotAllowed,
    /// The client exceeds its query rate.
    TooManyQueries,
    /// The query is too long.
    TooLong,
    /// A valid cookie is required.
    NoCookie,
    /// Response rate limiting dropped the response.
    ResponseDropped,
    /// Response rate limiting sent a truncated response instead.
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

/// The metrics of client queries.
#[derive(Debug)]
pub(super) struct QueryMetrics {
    counts: [[IntCounter; QueryOutcome::ALL.len()]; Transport::ALL.len()],
    restricted: [IntCounter; Restriction::ALL.len()],
    pub(super) truncated: IntCounter,
    pub(super) ambiguous: IntCounter,
    pub(super) connections: IntGauge,
    pub(super) shed: IntCounter,
}

impl QueryMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register(registry);
        let counts = register.counters(
            "muster_queries_total",
            "Queries, by transport and response code.",
            &["transport", "rcode"],
        )?;
        let restricted = register.counters(
            "muster_queries_restricted_total",
            "Queries refused, dropped or limited, by reason.",
            &["reason"],
        )?;
        Ok(Self {
            counts: Transport::ALL.map(|transport| {
                QueryOutcome::ALL
                    .map(|outcome| counts.with_label_values(&[transport.as_str(), outcome.as_str()]))
            }),
            restricted: Restriction::ALL.map(|reason| restricted.with_label_values(&[reason.as_str()])),
            truncated: register.counter(
                "muster_responses_truncated_total",
                "UDP responses with TC set, after which a client retries over TCP.",
            )?,
            ambiguous: register.counter(
                "muster_clients_ambiguous_total",
                "Queries that skipped a route because several instances share the client's address and only \
                 some of them match.",
            )?,
            connections: register.gauge("muster_tcp_connections", "TCP connections that are open now.")?,
            shed: register.counter(
                "muster_tcp_connections_shed_total",
                "TCP connections that were closed because too many were open.",
            )?,
        })
    }

    #[inline]
    pub(super) fn restriction(&self, reason: Restriction) -> &IntCounter {
        &self.restricted[reason as usize]
    }

    #[inline]
    pub(super) fn counter(&self, transport: Transport, outcome: QueryOutcome) -> &IntCounter {
        &self.counts[transport as usize][outcome as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_the_order_of_the_variants() {
        assert!(Transport::ALL.iter().enumerate().all(|(index, transport)| *transport as usize == index));
        assert!(Restriction::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
        assert!(QueryOutcome::ALL.iter().enumerate().all(|(index, outcome)| *outcome as usize == index));
    }

    #[test]
    fn every_pair_has_a_counter_of_its_own() {
        let metrics = QueryMetrics::register(&Registry::new()).unwrap();
        metrics.counter(Transport::Udp, QueryOutcome::NxDomain).inc();
        for transport in Transport::ALL {
            for outcome in QueryOutcome::ALL {
                let expected = u64::from(transport == Transport::Udp && outcome == QueryOutcome::NxDomain);
                assert_eq!(metrics.counter(transport, outcome).get(), expected, "{transport:?} {outcome:?}");
            }
        }
    }
}
