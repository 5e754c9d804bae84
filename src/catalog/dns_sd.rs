//! Names of DNS-SD (RFC 6763): service types, and the labels of instances that are browsed.
//!
//! ```text
//!  b._dns-sd._udp.ns          ─▶ ns                        browsing domains
//!  _services._dns-sd._udp.ns  ─▶ _port._proto.ns           service types
//!  _port._proto.ns            ─▶ label._port._proto.ns     instances of a type
//!  label._port._proto.ns         SRV, TXT                  one instance
//! ```
//!
//! A table leads from each service type to the services that have such a port, and from the list of
//! types to the types. Which instances of a service are answered is in the compiled service. So a
//! change to one service touches nothing else, unless it adds the first port of a type or removes
//! the last one.

use arrayvec::ArrayVec;

use super::{names::Names, pool::InstanceId, service::Service, zone::Zone};
use crate::{
    model::{Name, NamedPort, stable_hash},
    wire::WireName,
};

/// The browsing domains, below the apex (RFC 6763 section 11): the recommended domain, and the one
/// to browse if the user chooses none. Both are the zone itself.
pub(super) const DOMAINS: [&[u8]; 2] = [b"\x01b\x07_dns-sd\x04_udp", b"\x02lb\x07_dns-sd\x04_udp"];

/// The list of service types, below the apex (RFC 6763 section 9).
pub(super) const TYPES: &str = "_services._dns-sd._udp";
/// [`TYPES`] in wire format.
pub(super) const TYPES_LABELS: &[u8] = b"\x09_services\x07_dns-sd\x04_udp";

/// Longest label, in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = WireName::MAX_LABEL as usize;

/// Bytes that are kept of a label that is too long: a hyphen and eight digits follow.
const CUT: usize = MAX_LABEL - 9;

/// The meaning of a name of DNS-SD.
#[derive(Clone, Copy, Debug)]
pub enum Browse<'v> {
    /// A list of browsing domains: this zone.
    Domains,
    /// The list of service types, each a name `_port._proto.ns`.
    Types(&'v Names),
    /// A service type; [`View::browsed`](super::View::browsed) has the services with such a port.
    Type(&'v Name),
    /// One instance of a service type.
    Instance(&'v Service, BrowsedInstance),
}

impl Browse<'_> {
    /// Describes the name for `explain`.
    pub(super) fn describe(&self, zone: &Zone) -> String {
        match self {
            Self::Domains => format!("a browsing domain of DNS-SD, which leads to {}", zone.apex),
            Self::Types(types) => {
                format!("the list of service types in {}, which has {}", zone.apex, types.as_slice().len())
            }
            Self::Type(_) => "a service type, which leads to every instance that some client gets".to_owned(),
            Self::Instance(service, _) => format!("an instance of {} in DNS-SD", service.name),
        }
    }
}

/// One instance of a service type.
#[derive(Clone, Copy, Debug)]
pub struct BrowsedInstance {
    /// The instance within its service.
    pub id: InstanceId,
    /// Index of the type's port among the service's named ports.
    pub port: u16,
}

/// The label that an instance is browsed under: `instance.service` as one label (RFC 6763 section
/// 4.3).
///
/// `instance` is a label without its length, `service` labels in wire format. A label that would be
/// too long is cut, and made unique by a hash.
pub fn browsed_label(instance: &[u8], service: &[u8]) -> ArrayVec<u8, MAX_LABEL> {
    let text = || instance.iter().copied().chain(dotted(service));
    if !is_cut(instance, service) {
        return text().take(MAX_LABEL).collect();
    }
    let hash = stable_hash(text());
    let digits = (0..8).rev().map(|at| b"0123456789abcdef".get((hash >> (4 * at) & 15) as usize));
    text().take(CUT).chain([b'-']).chain(digits.flatten().copied()).collect()
}

/// Whether the [`browsed_label`] of an instance is cut.
pub(super) const fn is_cut(instance: &[u8], service: &[u8]) -> bool {
    instance.len() + service.len() > MAX_LABEL
}

/// Labels in wire format as text, each behind a dot.
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

/// For each named port of a service, the instances that some client is answered with, sorted.
pub(super) fn answered_instances(service: &Service) -> Box<[Box<[InstanceId]>]> {
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

/// `_port._proto` in wire format; `None` if the port's name does not fit a label.
pub(super) fn port_labels(port: &NamedPort) -> Option<Box<[u8]>> {
    port_octets(port).map(Iterator::collect)
}

/// Whether `labels` are a port's `_port._proto` in wire format.
pub(super) fn has_port_labels(port: &NamedPort, labels: &[u8]) -> bool {
    port_octets(port).is_some_and(|octets| octets.eq(labels.iter().copied()))
}

fn port_octets(port: &NamedPort) -> Option<impl Iterator<Item = u8>> {
    let label = |text| {
        let length = u8::try_from(str::len(text) + 1).ok()?;
        let is_label = (2..=WireName::MAX_LABEL).contains(&length);
        let octets = text.bytes().map(|octet| octet.to_ascii_lowercase());
        is_label.then(|| [length, b'_'].into_iter().chain(octets))
    };
    Some(label(&*port.name)?.chain(label(port.protocol.as_str())?))
}

/// Whether a name of the table of browsed names is a service type. The others are cut labels of
/// instances, which begin with a letter or a digit.
pub(super) fn is_type(name: WireName<'_>) -> bool {
    name.as_bytes().get(1) == Some(&b'_')
}

/// Whether labels below an apex have the form of a service type or of an instance of one.
pub(super) fn may_be_type_or_instance(labels: &[u8]) -> bool {
    let is_type = |labels: &[u8]| {
        split_label(labels).is_some_and(|(name, proto)| {
            name.starts_with(b"_") && name != b"_dns-sd" && matches!(proto, b"\x04_tcp" | b"\x04_udp")
        })
    };
    is_type(labels) || split_label(labels).is_some_and(|(_, rest)| is_type(rest))
}

/// Splits the first label, without its length, from the labels behind it.
pub(super) fn split_label(labels: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = labels.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// A full name that is put together without allocating.
pub(super) type NameBuffer = ArrayVec<u8, { Name::MAX }>;

/// The owner name of the instance that is browsed under `label`, unless the label is cut.
pub(super) fn instance_name(label: &[u8], zone: &Zone) -> Option<NameBuffer> {
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
    fn labels_are_joined_by_dots() {
        assert_eq!(&*browsed_label(b"dc1", b"\x05_ldap\x04_tcp"), b"dc1._ldap._tcp");
        assert_eq!(&*browsed_label(b"a", b"\x03web"), b"a.web");
    }

    #[test]
    fn a_label_that_is_too_long_is_cut_and_stays_unique() {
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
