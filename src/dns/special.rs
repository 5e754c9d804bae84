//! Names that are nobody's on the Internet: `localhost`, `invalid`, the reverse names of private addresses and their like
//! (RFC 6761, RFC 6303 and the IANA registries that go on from them).
//!
//! They are answered here, from constants, so that a machine whose only name server we are has its `localhost`, and so that
//! typing errors and private addresses do not travel the Internet. A namespace of ours at or above such a name goes before, and so
//! does a suffix under `[forward]` that names it or what it is in.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::encode::Writer;
use crate::model::Name;

/// TTL of what never changes, in seconds (RFC 6303 section 3).
const TTL: u32 = 10_800;

/// TTL of negative answers, in seconds. RFC 6303 has three hours; but here a namespace may come to stand in such a zone, and
/// clients shall see it soon.
const NEGATIVE_TTL: u32 = 60;

/// What there is in a special zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Every name has the loopback addresses (RFC 6761 section 6.3).
    Localhost,
    /// Nothing, nor the zone itself.
    Nothing,
    /// Nothing but the zone itself (RFC 6303 section 3).
    Empty,
    /// As `Empty`, but many networks have such names of their own, and the next resolver may know them.
    Private,
    /// As `Empty`, but the loopback address has a PTR.
    Loopback,
}

/// The special zones.
///
/// `local` (RFC 6762) is not among them: private zones below it are too common. Nor is `alt` (RFC 9476), which the root denies.
const ZONES: &[(&str, Kind)] = &[
    ("localhost", Kind::Localhost),
    ("invalid", Kind::Nothing),     // RFC 6761 section 6.4
    ("test", Kind::Nothing),        // RFC 6761 section 6.2
    ("onion", Kind::Nothing),       // RFC 7686 section 2
    ("home.arpa", Kind::Private),   // RFC 8375: a home network's resolver has such names
    ("resolver.arpa", Kind::Empty), // RFC 9462 section 6.4
    ("service.arpa", Kind::Empty),  // RFC 9665
    ("0.in-addr.arpa", Kind::Empty),
    ("127.in-addr.arpa", Kind::Loopback),
    ("254.169.in-addr.arpa", Kind::Empty),
    ("2.0.192.in-addr.arpa", Kind::Empty),
    ("100.51.198.in-addr.arpa", Kind::Empty),
    ("113.0.203.in-addr.arpa", Kind::Empty),
    ("255.255.255.255.in-addr.arpa", Kind::Empty),
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Kind::Empty),
    (LOOPBACK_V6, Kind::Loopback),
    ("8.e.f.ip6.arpa", Kind::Empty),
    ("9.e.f.ip6.arpa", Kind::Empty),
    ("a.e.f.ip6.arpa", Kind::Empty),
    ("b.e.f.ip6.arpa", Kind::Empty),
    ("8.b.d.0.1.0.0.2.ip6.arpa", Kind::Empty),
    ("10.in-addr.arpa", Kind::Private),
    ("168.192.in-addr.arpa", Kind::Private),
    ("d.f.ip6.arpa", Kind::Private),
];

/// The reverse names of the loopback addresses.
const LOOPBACK_V4: &str = "1.0.0.127.in-addr.arpa";
const LOOPBACK_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

/// The last labels of all special names: whatever ends otherwise is not looked for.
const ENDS: [&[u8]; 5] =
    [b"\x04arpa\x00", b"\x09localhost\x00", b"\x07invalid\x00", b"\x04test\x00", b"\x05onion\x00"];

const LOCALHOST: &[u8] = b"\x09localhost\x00";

/// The mailbox that RFC 6303 section 3 has.
const NOBODY: &[u8] = b"\x06nobody\x07invalid\x00";

type Hasher = foldhash::fast::RandomState;

/// Knows the special names.
#[derive(Debug)]
pub struct Specials {
    zones: HashMap<Name, Kind, Hasher>,
    loopbacks: Vec<Name>,
    /// The suffixes that the operator forwards.
    forwarded: HashSet<Name, Hasher>,
}

/// The answer to a question for a special name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Special {
    /// Where in the question's name its zone begins.
    zone: usize,
    says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Address(IpAddr),
    /// A PTR to `localhost`.
    Pointer,
    Soa,
    Ns,
    NoData,
    NoName,
}

impl Specials {
    /// Makes the zones, with the suffixes that are forwarded on purpose.
    pub fn new(forwarded: impl IntoIterator<Item = Name>) -> Self {
        let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa")); // RFC 7793
        let private = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
        let zones = ZONES.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
        let zones = zones.chain(shared.chain(private).map(|name| (name, Kind::Private)));
        Self {
            zones: zones.filter_map(|(name, kind)| Some((name.parse().ok()?, kind))).collect(),
            loopbacks: [LOOPBACK_V4, LOOPBACK_V6].iter().filter_map(|name| name.parse().ok()).collect(),
            forwarded: forwarded.into_iter().collect(),
        }
    }

    /// Finds the answer for `name` (wire format, lower case); `None` if there is nothing special about it, or it is forwarded.
    /// *Cost*: five comparisons; for names with a special ending also one hash look-up for each label.
    pub(super) fn find(&self, name: &[u8], qtype: RecordType) -> Option<Special> {
        if !ENDS.iter().any(|end| name.ends_with(end)) {
            return None;
        }
        let (zone, kind) = suffixes(name).find_map(|at| Some((at, *self.zones.get(name.get(at..)?)?)))?;
        let mut forwarded = suffixes(name).filter(|at| self.is_suffix_forwarded(name, *at));
        // Whoever forwards anything forwards the root: that does not mean these names. It does mean `home.arpa` and the reverse names of
        // private addresses: the resolver of a private network has them, and one of the Internet denies them itself.
        if forwarded.next().is_some_and(|longest| longest <= zone || kind == Kind::Private) {
            return None;
        }
        Some(Special { zone, says: self.says(kind, name, zone, qtype) })
    }

    fn says(&self, kind: Kind, name: &[u8], zone: usize, qtype: RecordType) -> Says {
        let is_apex = zone == 0;
        let no_data = || apex_record(is_apex, qtype).unwrap_or(Says::NoData);
        match (kind, qtype) {
            (Kind::Nothing, _) => Says::NoName,
            (Kind::Localhost, RecordType::A | RecordType::ANY) => Says::Address(Ipv4Addr::LOCALHOST.into()),
            (Kind::Localhost, RecordType::AAAA) => Says::Address(Ipv6Addr::LOCALHOST.into()),
            (Kind::Localhost, _) => no_data(),
            (Kind::Loopback, _) => {
                // What stands in front of the name in that of the pointer, if it is that or one above it.
                let above = self.loopbacks.iter().find_map(|pointer| pointer.as_wire().strip_suffix(name));
                match (above, qtype) {
                    (Some([]), RecordType::PTR | RecordType::ANY) => Says::Pointer,
                    (Some(_), _) => no_data(),
                    (None, _) => Says::NoName,
                }
            }
            (Kind::Empty | Kind::Private, _) if is_apex => no_data(),
            (Kind::Empty | Kind::Private, _) => Says::NoName,
        }
    }

    fn is_suffix_forwarded(&self, name: &[u8], at: usize) -> bool {
        name.get(at..).is_some_and(|suffix| self.forwarded.contains(suffix))
    }
}

impl Default for Specials {
    fn default() -> Self {
        Self::new([])
    }
}

/// Where the name and each that it is below begin, the root last.
fn suffixes(name: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(0), |at| match name.get(*at) {
        Some(length @ 1..) => Some(at + usize::from(*length) + 1),
        _ => None,
    })
}

fn apex_record(is_apex: bool, qtype: RecordType) -> Option<Says> {
    match qtype {
        RecordType::SOA | RecordType::ANY if is_apex => Some(Says::Soa),
        RecordType::NS if is_apex => Some(Says::Ns),
        _ => None,
    }
}

impl Writer<'_> {
    /// Writes the records of a special name.
    pub(super) fn special(&mut self, special: &Special) -> ResponseCode {
        let owner = Self::in_question(0);
        match special.says {
            Says::Address(address) => self.address(address, TTL),
            Says::Pointer => {
                self.answer(owner, RecordType::PTR, TTL, |w| w.out.extend_from_slice(LOCALHOST));
            }
            Says::Ns => {
                self.answer(owner, RecordType::NS, TTL, |w| w.name_in_question(special.zone));
            }
            Says::Soa => self.answers += self.special_soa(special.zone, TTL),
            Says::NoData | Says::NoName => self.authority += self.special_soa(special.zone, NEGATIVE_TTL),
        }
        if special.says == Says::NoName { ResponseCode::NXDomain } else { ResponseCode::NoError }
    }

    fn special_soa(&mut self, zone: usize, ttl: u32) -> u16 {
        let written = self.record(Self::in_question(zone), RecordType::SOA, DNSClass::IN, ttl, |w| {
            w.name_in_question(zone);
            w.out.extend_from_slice(NOBODY);
            for field in [1, 3600, 1200, 604_800, NEGATIVE_TTL] {
                w.out.extend_from_slice(&field.to_be_bytes());
            }
        });
        u16::from(written)
    }

    fn name_in_question(&mut self, at: usize) {
        self.out.extend_from_slice(&Self::in_question(at).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn find(forwarded: &[&str], name: &str, qtype: RecordType) -> Option<Says> {
        let specials = Specials::new(forwarded.iter().map(|suffix| suffix.parse::<Name>().unwrap()));
        let name: Name = name.parse().unwrap();
        specials.find(name.as_wire(), qtype).map(|special| special.says)
    }

    const V4: Option<Says> = Some(Says::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    const V6: Option<Says> = Some(Says::Address(IpAddr::V6(Ipv6Addr::LOCALHOST)));

    #[rstest]
    #[case("localhost", RecordType::A, V4)]
    #[case("localhost", RecordType::AAAA, V6)]
    #[case("localhost", RecordType::MX, Some(Says::NoData))]
    #[case("localhost", RecordType::SOA, Some(Says::Soa))]
    #[case("www.app.localhost", RecordType::A, V4)]
    #[case("www.app.localhost", RecordType::SOA, Some(Says::NoData))]
    #[case("localhost.example", RecordType::A, None)]
    #[case("notlocalhost", RecordType::A, None)]
    #[case("invalid", RecordType::A, Some(Says::NoName))]
    #[case("a.b.invalid", RecordType::SOA, Some(Says::NoName))]
    #[case("a.test", RecordType::A, Some(Says::NoName))]
    #[case("facebookcorewwwi.onion", RecordType::AAAA, Some(Says::NoName))]
    #[case("home.arpa", RecordType::SOA, Some(Says::Soa))]
    #[case("home.arpa", RecordType::NS, Some(Says::Ns))]
    #[case("home.arpa", RecordType::A, Some(Says::NoData))]
    #[case("tv.home.arpa", RecordType::A, Some(Says::NoName))]
    #[case("_dns.resolver.arpa", RecordType::SVCB, Some(Says::NoName))]
    #[case("arpa", RecordType::NS, None)]
    #[case("in-addr.arpa", RecordType::NS, None)]
    #[case("4.3.2.10.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("4.3.16.172.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("4.3.31.172.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("4.3.32.172.in-addr.arpa", RecordType::PTR, None)]
    #[case("4.3.168.192.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("4.3.64.100.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("4.3.127.100.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("4.3.128.100.in-addr.arpa", RecordType::PTR, None)]
    #[case("8.8.8.8.in-addr.arpa", RecordType::PTR, None)]
    #[case("1.0.0.127.in-addr.arpa", RecordType::PTR, Some(Says::Pointer))]
    #[case("1.0.0.127.in-addr.arpa", RecordType::A, Some(Says::NoData))]
    #[case("0.0.127.in-addr.arpa", RecordType::PTR, Some(Says::NoData))]
    #[case("127.in-addr.arpa", RecordType::SOA, Some(Says::Soa))]
    #[case("2.0.0.127.in-addr.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case(LOOPBACK_V6, RecordType::PTR, Some(Says::Pointer))]
    #[case("1.0.8.e.f.ip6.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("1.0.d.f.ip6.arpa", RecordType::PTR, Some(Says::NoName))]
    #[case("1.0.0.2.ip6.arpa", RecordType::PTR, None)]
    fn special_names_are_answered_here(
        #[case] name: &str,
        #[case] qtype: RecordType,
        #[case] expected: Option<Says>,
    ) {
        assert_eq!(find(&[], name, qtype), expected);
    }

    /// A label may have the bytes of other labels in it.
    #[test]
    fn an_ending_within_a_label_is_none() {
        assert_eq!(Specials::default().find(b"\x0efoo?\x09localhost\x00", RecordType::A), None);
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
    fn what_is_forwarded_on_purpose_is_not_answered_here(
        #[case] suffix: &str,
        #[case] name: &str,
        #[case] forwarded: bool,
    ) {
        assert_eq!(find(&[suffix], name, RecordType::PTR).is_none(), forwarded);
    }
}
