//! The records of our own zones: A, AAAA, CNAME, SOA and NS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{DNSClass, RecordType};

use super::super::{
    records::{Cname, Family},
    rotation::{ListOrder, arranged},
};
use crate::{
    catalog::{InstanceAnswer, Pool, Service, Zone},
    wire::{
        Section, Writer, count_of,
        record::{self, POINTER_HEAD},
    },
};

#[inline]
pub(super) fn addresses(
    writer: &mut Writer<'_>,
    zone: &Zone,
    service: &Service,
    (pool, family, order): (&Pool, Family, ListOrder),
) {
    let limit = usize::from(service.max_answers);
    match family {
        Family::V4 => v4_answers(writer, zone, &pool.v4.records, (order, limit), service.ttl),
        Family::V6 => v6_answers(writer, zone, &pool.v6.records, (order, limit), service.ttl),
    }
}

pub(super) fn instance(
    writer: &mut Writer<'_>,
    zone: &Zone,
    instance: &InstanceAnswer<'_>,
    family: Family,
    ttl: u32,
) {
    match family {
        Family::V4 => v4_answers(writer, zone, instance.v4, (ListOrder::Rotated(0), usize::MAX), ttl),
        Family::V6 => v6_answers(writer, zone, instance.v6, (ListOrder::Rotated(0), usize::MAX), ttl),
    }
}

#[inline]
fn v4_answers(
    writer: &mut Writer<'_>,
    zone: &Zone,
    list: &[Ipv4Addr],
    (order, limit): (ListOrder, usize),
    ttl: u32,
) {
    let count = fitting(writer, zone, list.len().min(limit), POINTER_HEAD + 4);
    let head = head(writer.owner(0), RecordType::A, ttl, 4);
    for (record, address) in writer.reserve(count).iter_mut().zip(arranged(list, order, count)) {
        *record = v4_record(head, *address);
    }
    writer.counts.answers += count_of(count);
}

#[inline]
fn v6_answers(
    writer: &mut Writer<'_>,
    zone: &Zone,
    list: &[Ipv6Addr],
    (order, limit): (ListOrder, usize),
    ttl: u32,
) {
    let count = fitting(writer, zone, list.len().min(limit), POINTER_HEAD + 16);
    let head = head(writer.owner(0), RecordType::AAAA, ttl, 16);
    for (record, address) in writer.reserve(count).iter_mut().zip(arranged(list, order, count)) {
        *record = v6_record(head, *address);
    }
    writer.counts.answers += count_of(count);
}

/// How many of `wanted` address records of `size` bytes fit.
#[inline]
fn fitting(writer: &mut Writer<'_>, zone: &Zone, wanted: usize, size: usize) -> usize {
    let fitting = wanted.min(writer.remaining() / size);
    writer.truncated = fitting < wanted && (zone.truncate.addresses || fitting == 0);
    fitting
}

/// The fixed part of a record in class IN, in front of its data.
#[inline]
pub(super) fn head(owner: u16, rtype: RecordType, ttl: u32, length: u16) -> [u8; POINTER_HEAD] {
    record::head(owner, rtype.into(), DNSClass::IN.into(), ttl, length)
}

#[inline]
pub(super) fn v4_record(head: [u8; POINTER_HEAD], address: Ipv4Addr) -> [u8; POINTER_HEAD + 4] {
    let mut record = [0; POINTER_HEAD + 4];
    let (start, end) = record.split_at_mut(POINTER_HEAD);
    start.copy_from_slice(&head);
    end.copy_from_slice(&address.octets());
    record
}

#[inline]
pub(super) fn v6_record(head: [u8; POINTER_HEAD], address: Ipv6Addr) -> [u8; POINTER_HEAD + 16] {
    let mut record = [0; POINTER_HEAD + 16];
    let (start, end) = record.split_at_mut(POINTER_HEAD);
    start.copy_from_slice(&head);
    end.copy_from_slice(&address.octets());
    record
}

/// Writes one address record of the owner.
pub(super) fn address(writer: &mut Writer<'_>, address: IpAddr, ttl: u32) {
    let owner = writer.owner(0);
    match address {
        IpAddr::V4(v4) => writer.answer(owner, RecordType::A.into(), ttl, |w| w.bytes(&v4.octets())),
        IpAddr::V6(v6) => writer.answer(owner, RecordType::AAAA.into(), ttl, |w| w.bytes(&v6.octets())),
    };
}

/// Writes a CNAME. Its target is not compressed, so that the target's records can point to it.
pub(super) fn cname(writer: &mut Writer<'_>, cname: &Cname<'_>) {
    let owner = writer.owner(0);
    writer.answer(owner, RecordType::CNAME.into(), cname.ttl, |w| w.bytes(cname.target.as_wire()));
}

/// Writes the zone's name servers.
pub(super) fn ns(writer: &mut Writer<'_>, zone: &Zone) {
    let apex = writer.apex(zone.apex.wire());
    for ns in &zone.ns {
        writer.answer(apex, RecordType::NS.into(), zone.ttl, |w| w.name_below(ns.wire(), zone.apex.wire()));
    }
}

/// Writes the SOA record at the apex (RFC 1035 section 3.3.13), with the negative TTL if it goes
/// into the authority section (RFC 2308 section 3). Its timers have no effect, because the zone is
/// not transferred.
pub(super) fn soa(writer: &mut Writer<'_>, zone: &Zone, section: Section) {
    const REFRESH: u32 = 3600;
    const RETRY: u32 = 600;
    const EXPIRE: u32 = 86400;
    let ttl = if section == Section::Answer { zone.ttl } else { zone.negative_ttl };
    let apex = zone.apex.wire();
    let head = [writer.apex(apex), RecordType::SOA.into(), DNSClass::IN.into()];
    writer.record(section, head, ttl, |w| {
        w.name_below(zone.ns.first().unwrap_or(&zone.apex).wire(), apex);
        w.name_below(zone.hostmaster.wire(), apex);
        for field in [zone.serial, REFRESH, RETRY, EXPIRE, zone.negative_ttl] {
            w.bytes(&field.to_be_bytes());
        }
    });
}
