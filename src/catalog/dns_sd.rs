//! Browsing (DNS-SD, RFC 6763): which services have a port of a name, and how their instances are
//! called there.
//!
//! A table leads from `_port._proto.ns` to the services that have such a port, and from
//! `_services._dns-sd._udp.ns` to those names. Which of a service's instances are answered stands
//! in the service, so a change to one touches nothing else, unless it brings the first port of a
//! name or takes the last one.

use arrayvec::ArrayVec;

use super::{names::Names, pool::InstanceId, service::Service, zone::Zone};
use crate::model::{Name, NamedPort, stable_hash};

/// The names that clients ask first for (RFC 6763 section 11), below the zone's apex: where to
/// browse, also when nobody chooses.
pub(super) const DOMAINS: [&[u8]; 2] = [b"\x01b\x07_dns-sd\x04_udp", b"\x02lb\x07_dns-sd\x04_udp"];

/// Longest label, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Octets of a label that is cut: a hyphen and eight digits follow.
const CUT: usize = MAX_LABEL - 9;

/// What lists the kinds of services (RFC 6763 section 9).
pub(super) const KINDS: &str = "_services._dns-sd._udp";
pub(super) const KINDS_LABELS: &[u8] = b"\x09_services\x07_dns-sd\x04_udp";

/// What a browser has asked for.
#[derive(Clone, Copy, Debug)]
pub enum Browse<'v> {
    /// The zones that can be browsed, which is this one.
    Domains,
    /// The kinds of services, each a name `_port._proto.ns`.
    Kinds(&'v Names),
    /// The instances of this kind, a name `_port._proto.ns`; [`View::browsed`] has the services.
    Services(&'v Name),
    /// One instance of one kind.
    Instance(&'v Service, BrowsedInstance),
}

impl Browse<'_> {
    /// Says what it is, for explanations.
    pub(super) fn describe(&self, zone: &Zone) -> String {
        match self {
            Self::Domains => format!("what browsers ask first: it leads to {}", zone.apex),
            Self::Kinds(kinds) => {
                format!("the kinds of services in {}: {}", zone.apex, kinds.as_slice().len())
            }
            Self::Services(_) => {
                "a kind of services: it leads to all instances that are answered to anybody".to_owned()
            }
            Self::Instance(service, _) => format!("an instance of {}, as it is browsed", service.name),
        }
    }
}

/// An instance by its number, and the place of a named port among its service's.
#[derive(Clone, Copy, Debug)]
pub struct BrowsedInstance {
    /// The instance.
    pub id: InstanceId,
    /// The place of the port.
    pub port: u16,
}

/// The label by which an instance is browsed: `instance.service`, of their wire labels (without the
/// first one's length) as one label with a dot in it (RFC 6763 section 4.3). One that is too long
/// is cut and told from others by a hash.
pub fn browsed_label(instance: &[u8], service: &[u8]) -> ArrayVec<u8, MAX_LABEL> {
    let text = || instance.iter().copied().chain(dotted(service));
    if !is_cut(instance, service) {
        return text().take(MAX_LABEL).collect();
    }
    let hash = stable_hash(text());
    let digits = (0..8).rev().map(|at| b"0123456789abcdef".get((hash >> (4 * at) & 15) as usize));
    text().take(CUT).chain([b'-']).chain(digits.flatten().copied()).collect()
}

/// Whether the label of an instance is not simply its text.
pub(super) const fn is_cut(instance: &[u8], service: &[u8]) -> bool {
    instance.len() + service.len() > MAX_LABEL
}

/// Wire labels as text with a dot in front of each.
fn dotted(labels: &[u8]) -> impl Iterator<Item = u8> {
    let mut left = 0;
    labels.iter().map(move |octet| {
        if left == 0 {
            left = *octet;
            return b'.';
        }
        left -= 1;
        *octet
    })
}

/// For each of a service's named ports the instances that are answered to anybody, sorted.
pub(super) fn instances(service: &Service) -> Box<[Box<[InstanceId]>]> {
    let of_port = |at: usize| -> Box<[InstanceId]> {
        let lists = service.pools().filter_map(|pool| pool.ports.get(at));
        let mut ids: Vec<_> =
            lists.flat_map(|list| list.records.iter()).map(|record| record.instance).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into()
    };
    (0..service.ports.len()).map(of_port).collect()
}

/// `_port._proto` in wire format; `None` where the port's name is no label.
pub(super) fn port_labels(port: &NamedPort) -> Option<Box<[u8]>> {
    port_octets(port).map(Iterator::collect)
}

/// Whether `labels` are a port's `_port._proto` in wire format.
pub(super) fn has_port_labels(port: &NamedPort, labels: &[u8]) -> bool {
    port_octets(port).is_some_and(|octets| octets.eq(labels.iter().copied()))
}

fn port_octets(port: &NamedPort) -> Option<impl Iterator<Item = u8>> {
    let label = |text| {
        let length = u8::try_from(str::len(text) + 1).ok().filter(|length| (2..=63).contains(length))?;
        Some([length, b'_'].into_iter().chain(text.bytes().map(|octet| octet.to_ascii_lowercase())))
    };
    Some(label(&*port.name)?.chain(label(port.protocol.as_str())?))
}

/// Tells whether a name that leads to others is one of a kind of services; cut labels begin as
/// instances' do, with a letter or digit.
pub(super) fn is_kind(name: &[u8]) -> bool {
    name.get(1) == Some(&b'_')
}

/// Tells whether labels are a kind of services, or an instance of one.
pub(super) fn ends_with_kind(labels: &[u8]) -> bool {
    let is_kind = |labels: &[u8]| {
        split(labels).is_some_and(|(name, proto)| {
            name.starts_with(b"_") && name != b"_dns-sd" && matches!(proto, b"\x04_tcp" | b"\x04_udp")
        })
    };
    is_kind(labels) || split(labels).is_some_and(|(_, kind)| is_kind(kind))
}

/// The first label, without its length, and the others.
pub(super) fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = name.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// The full name of the instance that a label names which is not cut.
pub(super) fn uncut(label: &[u8], zone: &Zone) -> Option<ArrayVec<u8, { Name::MAX }>> {
    let mut name = ArrayVec::new();
    if !label.contains(&b'.') {
        return None;
    }
    for part in label.split(|octet| *octet == b'.') {
        name.try_push(u8::try_from(part.len()).ok().filter(|length| *length > 0)?).ok()?;
        name.try_extend_from_slice(part).ok()?;
    }
    name.try_extend_from_slice(zone.apex.as_wire()).ok()?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_dots_for_the_borders_of_labels() {
        assert_eq!(&*browsed_label(b"dc1", b"\x05_ldap\x04_tcp"), b"dc1._ldap._tcp");
        assert_eq!(&*browsed_label(b"a", b"\x03web"), b"a.web");
    }

    #[test]
    fn a_label_that_is_too_long_is_cut_and_still_its_own() {
        let (one, other) = ([b'x'; 60], [&[b'x'; 59][..], b"y"].concat());
        assert_eq!(browsed_label(&one, b"\x02we").len(), 63);
        assert!(browsed_label(&one, b"\x02we").ends_with(b"x.we"));
        let labels = [(&one[..], b"\x03web"), (&other[..], b"\x03web"), (&one[..], b"\x03wex")]
            .map(|(instance, service)| browsed_label(instance, service));
        for label in &labels {
            assert_eq!(label.len(), 63, "{label:?}");
            assert!(label.starts_with(&one[..54]) && label[54] == b'-', "{label:?}");
        }
        assert!(labels[0] != labels[1] && labels[0] != labels[2]);
    }
}
