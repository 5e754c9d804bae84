//! Special names: `localhost`, `invalid`, the reverse names of private addresses, and others that
//! no server on the Internet has (RFC 6761, RFC 6303, and the IANA registries that extend them).
//!
//! muster answers them from constants. So a machine whose only resolver is muster still has its
//! `localhost`, and misspelled names and private addresses do not leak to the Internet. A namespace
//! at or above a special name takes precedence, and so does a suffix in `[forward]` at or above it.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::rr::RecordType;

use crate::{model::Name, wire::WireName};

/// TTL of records that never change, in seconds (RFC 6303 section 3).
pub(super) const TTL: u32 = 10_800;

/// TTL of negative answers, in seconds. RFC 6303 has three hours, but a reload may add a namespace
/// within a special zone, and clients should see it soon.
pub(super) const NEGATIVE_TTL: u32 = 60;

/// The content of a special zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpecialZone {
    /// Every name has the loopback addresses (RFC 6761 section 6.3).
    Localhost,
    /// No name exists, not even the apex.
    Nothing,
    /// Every name exists, without records.
    NoData,
    /// Only the apex exists (RFC 6303 section 3).
    Empty,
    /// Like `Empty`, but many networks use names in it, which their own resolver may know.
    Private,
    /// Like `Empty`, but the loopback address has a PTR record.
    Loopback,
}

/// The special zones.
///
/// `local` (RFC 6762) is not among them, because private zones below it are common. Neither is
/// `alt` (RFC 9476), because the root servers deny it.
const ZONES: &[(&str, SpecialZone)] = &[
    ("localhost", SpecialZone::Localhost),
    ("invalid", SpecialZone::Nothing),      // RFC 6761 section 6.4
    ("test", SpecialZone::Nothing),         // RFC 6761 section 6.2
    ("onion", SpecialZone::Nothing),        // RFC 7686 section 2
    ("home.arpa", SpecialZone::Private),    // RFC 8375: a home network's resolver has such names
    ("resolver.arpa", SpecialZone::NoData), // RFC 9462 sections 4 and 6.4
    ("service.arpa", SpecialZone::Empty),   // RFC 9665
    ("0.in-addr.arpa", SpecialZone::Empty),
    ("127.in-addr.arpa", SpecialZone::Loopback),
    ("254.169.in-addr.arpa", SpecialZone::Empty),
    ("2.0.192.in-addr.arpa", SpecialZone::Empty),
    ("100.51.198.in-addr.arpa", SpecialZone::Empty),
    ("113.0.203.in-addr.arpa", SpecialZone::Empty),
    ("255.255.255.255.in-addr.arpa", SpecialZone::Empty),
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", SpecialZone::Empty),
    (LOOPBACK_V6, SpecialZone::Loopback),
    ("8.e.f.ip6.arpa", SpecialZone::Empty),
    ("9.e.f.ip6.arpa", SpecialZone::Empty),
    ("a.e.f.ip6.arpa", SpecialZone::Empty),
    ("b.e.f.ip6.arpa", SpecialZone::Empty),
    ("8.b.d.0.1.0.0.2.ip6.arpa", SpecialZone::Empty),
    ("10.in-addr.arpa", SpecialZone::Private),
    ("168.192.in-addr.arpa", SpecialZone::Private),
    ("d.f.ip6.arpa", SpecialZone::Private),
];

/// The reverse names of the loopback addresses.
const LOOPBACK_V4: &str = "1.0.0.127.in-addr.arpa";
const LOOPBACK_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

/// The last labels of all special names. Names that end otherwise are not looked up.
const LAST_LABELS: [&[u8]; 5] =
    [b"\x04arpa\x00", b"\x09localhost\x00", b"\x07invalid\x00", b"\x04test\x00", b"\x05onion\x00"];

/// `localhost`.
pub(super) const LOCALHOST: &[u8] = b"\x09localhost\x00";

/// The mailbox that RFC 6303 section 3 prescribes.
pub(super) const HOSTMASTER: &[u8] = b"\x06nobody\x07invalid\x00";

type Hasher = foldhash::fast::RandomState;

/// The special names, and which of them are forwarded instead.
#[derive(Debug)]
pub struct Specials {
    zones: HashMap<Name, SpecialZone, Hasher>,
    loopbacks: Vec<Name>,
    /// The suffixes in `[forward]`.
    forwarded: HashSet<Name, Hasher>,
}

/// The answer for a special name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Special {
    /// Number of bytes of the question's name in front of its zone.
    pub(super) zone: usize,
    pub(super) records: SpecialRecords,
}

/// The records of a special name, for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpecialRecords {
    /// A loopback address.
    Address(IpAddr),
    /// A PTR to `localhost`.
    Pointer,
    /// The zone's SOA.
    Soa,
    /// The zone's name server, which is the zone itself.
    Ns,
    /// The name exists without records of the type.
    NoData,
    /// The name does not exist.
    NoName,
}

impl Specials {
    /// Makes the table. `forwarded` is the suffixes in `[forward]`.
    pub fn new(forwarded: impl IntoIterator<Item = Name>) -> Self {
        let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa")); // RFC 7793
        let private = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
        let zones = ZONES.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
        let zones = zones.chain(shared.chain(private).map(|name| (name, SpecialZone::Private)));
        Self {
            zones: zones.filter_map(|(name, kind)| Some((name.parse().ok()?, kind))).collect(),
            loopbacks: [LOOPBACK_V4, LOOPBACK_V6].iter().filter_map(|name| name.parse().ok()).collect(),
            forwarded: forwarded.into_iter().collect(),
        }
    }

    /// Finds the answer for `name`. `None` if the name is not special, or is forwarded.
    ///
    /// *Cost*: five comparisons. For a name with a special ending, also a hash lookup per label.
    pub(super) fn find(&self, name: WireName<'_>, qtype: RecordType) -> Option<Special> {
        if !LAST_LABELS.iter().any(|end| name.as_bytes().ends_with(end)) {
            return None;
        }
        let (zone, content) =
            name.suffixes().find_map(|(at, suffix)| Some((at, *self.zones.get(suffix.as_bytes())?)))?;
        let mut forwarded = name.suffixes().filter(|(_, suffix)| self.forwarded.contains(suffix.as_bytes()));
        // Most configurations that forward anything forward the root, which does not mean to
        // forward these names. The exceptions are `home.arpa` and the reverse names of private
        // addresses: the resolver of a private network knows them, and a resolver on the Internet
        // denies them itself.
        let is_forwarded = |longest| longest <= zone || content == SpecialZone::Private;
        if forwarded.next().is_some_and(|(longest, _)| is_forwarded(longest)) {
            return None;
        }
        Some(Special { zone, records: records(&self.loopbacks, content, name.as_bytes(), zone, qtype) })
    }
}

fn records(
    loopbacks: &[Name],
    content: SpecialZone,
    name: &[u8],
    zone: usize,
    qtype: RecordType,
) -> SpecialRecords {
    let is_apex = zone == 0;
    let no_data = || apex_record(is_apex, qtype).unwrap_or(SpecialRecords::NoData);
    match (content, qtype) {
        (SpecialZone::Nothing, _) => SpecialRecords::NoName,
        (SpecialZone::Localhost, RecordType::A | RecordType::ANY) => {
            SpecialRecords::Address(Ipv4Addr::LOCALHOST.into())
        }
        (SpecialZone::Localhost, RecordType::AAAA) => SpecialRecords::Address(Ipv6Addr::LOCALHOST.into()),
        (SpecialZone::Localhost | SpecialZone::NoData, _) => no_data(),
        (SpecialZone::Loopback, _) => {
            // The labels between the name and a loopback address's reverse name, if that is at or
            // below the name.
            let above = loopbacks.iter().find_map(|pointer| pointer.as_wire().strip_suffix(name));
            match (above, qtype) {
                (Some([]), RecordType::PTR | RecordType::ANY) => SpecialRecords::Pointer,
                (Some(_), _) => no_data(),
                (None, _) => SpecialRecords::NoName,
            }
        }
        (SpecialZone::Empty | SpecialZone::Private, _) if is_apex => no_data(),
        (SpecialZone::Empty | SpecialZone::Private, _) => SpecialRecords::NoName,
    }
}

impl Default for Specials {
    fn default() -> Self {
        Self::new([])
    }
}

fn apex_record(is_apex: bool, qtype: RecordType) -> Option<SpecialRecords> {
    match qtype {
        RecordType::SOA | RecordType::ANY if is_apex => Some(SpecialRecords::Soa),
        RecordType::NS if is_apex => Some(SpecialRecords::Ns),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn find(forwarded: &[&str], name: &str, qtype: RecordType) -> Option<SpecialRecords> {
        let specials = Specials::new(forwarded.iter().map(|suffix| suffix.parse::<Name>().unwrap()));
        let name: Name = name.parse().unwrap();
        specials.find(name.wire(), qtype).map(|special| special.records)
    }

    const V4: Option<SpecialRecords> = Some(SpecialRecords::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    const V6: Option<SpecialRecords> = Some(SpecialRecords::Address(IpAddr::V6(Ipv6Addr::LOCALHOST)));

    #[rstest]
    #[case("localhost", RecordType::A, V4)]
    #[case("localhost", RecordType::AAAA, V6)]
    #[case("localhost", RecordType::MX, Some(SpecialRecords::NoData))]
    #[case("localhost", RecordType::SOA, Some(SpecialRecords::Soa))]
    #[case("www.app.localhost", RecordType::A, V4)]
    #[case("www.app.localhost", RecordType::SOA, Some(SpecialRecords::NoData))]
    #[case("localhost.example", RecordType::A, None)]
    #[case("notlocalhost", RecordType::A, None)]
    #[case("invalid", RecordType::A, Some(SpecialRecords::NoName))]
    #[case("a.b.invalid", RecordType::SOA, Some(SpecialRecords::NoName))]
    #[case("a.test", RecordType::A, Some(SpecialRecords::NoName))]
    #[case("facebookcorewwwi.onion", RecordType::AAAA, Some(SpecialRecords::NoName))]
    #[case("home.arpa", RecordType::SOA, Some(SpecialRecords::Soa))]
    #[case("home.arpa", RecordType::NS, Some(SpecialRecords::Ns))]
    #[case("home.arpa", RecordType::A, Some(SpecialRecords::NoData))]
    #[case("tv.home.arpa", RecordType::A, Some(SpecialRecords::NoName))]
    #[case("_dns.resolver.arpa", RecordType::SVCB, Some(SpecialRecords::NoData))]
    #[case("resolver.arpa", RecordType::SVCB, Some(SpecialRecords::NoData))]
    #[case("x.resolver.arpa", RecordType::A, Some(SpecialRecords::NoData))]
    #[case("_dns.service.arpa", RecordType::SVCB, Some(SpecialRecords::NoName))]
    #[case("arpa", RecordType::NS, None)]
    #[case("in-addr.arpa", RecordType::NS, None)]
    #[case("4.3.2.10.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("4.3.16.172.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("4.3.31.172.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("4.3.32.172.in-addr.arpa", RecordType::PTR, None)]
    #[case("4.3.168.192.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("4.3.64.100.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("4.3.127.100.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("4.3.128.100.in-addr.arpa", RecordType::PTR, None)]
    #[case("8.8.8.8.in-addr.arpa", RecordType::PTR, None)]
    #[case("1.0.0.127.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::Pointer))]
    #[case("1.0.0.127.in-addr.arpa", RecordType::A, Some(SpecialRecords::NoData))]
    #[case("0.0.127.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoData))]
    #[case("127.in-addr.arpa", RecordType::SOA, Some(SpecialRecords::Soa))]
    #[case("2.0.0.127.in-addr.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case(LOOPBACK_V6, RecordType::PTR, Some(SpecialRecords::Pointer))]
    #[case("1.0.8.e.f.ip6.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("1.0.d.f.ip6.arpa", RecordType::PTR, Some(SpecialRecords::NoName))]
    #[case("1.0.0.2.ip6.arpa", RecordType::PTR, None)]
    fn special_names_have_constant_answers(
        #[case] name: &str,
        #[case] qtype: RecordType,
        #[case] expected: Option<SpecialRecords>,
    ) {
        assert_eq!(find(&[], name, qtype), expected);
    }

    /// A label may contain the bytes of other labels.
    #[test]
    fn a_special_ending_within_a_label_is_not_special() {
        assert_eq!(
            Specials::default().find(WireName::trusted(b"\x0efoo?\x09localhost\x00"), RecordType::A),
            None
        );
    }

    #[rstest]
    #[case(".", "localhost", false)]
    #[case(".", "a.test", false)]
    #[case(".", "4.3.2.127.in-addr.arpa", false)]
    #[case(".", "4.3.2.10.in-addr.arpa", true)]
    #[case(".", "10.in-addr.arpa", true)]
    #[case("arpa", "4.3.2.10.in-addr.arpa", true)]
    #[case(".", "tv.home.arpa", true)]
    #[case(".", "home.arpa", true)]
    #[case(".", "_dns.resolver.arpa", false)]
    #[case("arpa", "tv.home.arpa", true)]
    #[case("home.arpa", "tv.home.arpa", true)]
    #[case("home.arpa", "home.arpa", true)]
    #[case("tv.home.arpa", "tv.home.arpa", true)]
    #[case("tv.home.arpa", "www.tv.home.arpa", true)]
    #[case("tv.home.arpa", "pc.home.arpa", false)]
    #[case("test", "a.test", true)]
    #[case("example", "4.3.2.10.in-addr.arpa", false)]
    fn names_with_a_forwarded_suffix_are_forwarded(
        #[case] suffix: &str,
        #[case] name: &str,
        #[case] forwarded: bool,
    ) {
        assert_eq!(find(&[suffix], name, RecordType::PTR).is_none(), forwarded);
    }
}
