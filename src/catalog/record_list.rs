//! The lists of records that a pool has, and which of them answers which query type.

use std::ops::Deref;

use hickory_proto::rr::RecordType;

/// One of a pool's lists of records.
///
/// `P` identifies a named port: by its labels `_port._proto` in wire format, or by its index among
/// the service's named ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordList<P> {
    /// A records, and CNAME records of instances that have a host name.
    V4,
    /// AAAA records, and CNAME records of instances that have a host name.
    V6,
    /// SRV records at the service's name.
    Srv,
    /// SRV records at a named port.
    NamedPort(P),
}

impl<P> RecordList<P> {
    /// The lists that ANY may be answered from: the first that has records (RFC 8482 section 4.1).
    pub const ANY: [Self; 3] = [Self::V4, Self::V6, Self::Srv];

    /// The list that rotates for a query of this type at the service's own name. `None`: no list
    /// has such records.
    ///
    /// A CNAME takes the place of an address, and ANY begins with A.
    pub const fn of_type(qtype: RecordType) -> Option<Self> {
        match qtype {
            RecordType::A | RecordType::CNAME | RecordType::ANY => Some(Self::V4),
            RecordType::AAAA => Some(Self::V6),
            RecordType::SRV => Some(Self::Srv),
            _ => None,
        }
    }

    /// Whether lookups are split between the groups that have records in this list, or between
    /// those that have any instance.
    ///
    /// A client that asks for A and AAAA must be able to get both from one group.
    pub const fn divides_by_records(&self) -> bool {
        matches!(self, Self::Srv | Self::NamedPort(_))
    }

    /// The same list, with another way to identify the named port.
    pub fn map<Q>(self, port: impl FnOnce(P) -> Q) -> RecordList<Q> {
        match self {
            Self::V4 => RecordList::V4,
            Self::V6 => RecordList::V6,
            Self::Srv => RecordList::Srv,
            Self::NamedPort(named) => RecordList::NamedPort(port(named)),
        }
    }

    /// The same list, the named port borrowed.
    pub fn as_deref(&self) -> RecordList<&P::Target>
    where
        P: Deref,
    {
        match self {
            Self::V4 => RecordList::V4,
            Self::V6 => RecordList::V6,
            Self::Srv => RecordList::Srv,
            Self::NamedPort(port) => RecordList::NamedPort(port),
        }
    }
}
