//! SRV records (RFC 2782), with the addresses of their targets in the additional section.

use hickory_proto::rr::RecordType;

use super::{
    super::rotation::{ListOrder, arranged},
    zone::{head, v4_record, v6_record},
};
use crate::{
    catalog::{InstanceAnswer, Service, SrvRecord, Zone},
    wire::{
        Writer, count_of,
        record::{POINTER_HEAD, pointer},
    },
};

/// Priority of every SRV record. All are equal: policy has chosen the instances already.
const SRV_PRIORITY: u16 = 0;

/// Length of an SRV record's data in front of the target, in bytes.
const SRV_DATA: usize = 6;

/// Length of an SRV target in wire format.
fn target_length(service: &Service, instance: &InstanceAnswer<'_>) -> usize {
    match instance.host {
        Some(host) => host.as_wire().len(),
        None => instance.label.len() + service.name.as_wire().len(),
    }
}

/// Writes the records in this order. If all of them fit, adds as many of their targets' addresses
/// as fit.
pub(super) fn services(
    writer: &mut Writer<'_>,
    zone: &Zone,
    service: &Service,
    list: &[SrvRecord],
    order: ListOrder,
) {
    let wanted = list.len().min(usize::from(service.max_answers));
    // The targets' names are found again from here, as owners of the additional records.
    let start = writer.position();
    let mut fitting = 0;
    let record_head = head(writer.owner(0), RecordType::SRV, service.ttl, 0);
    let records = arranged(list, order, wanted);
    for record in records {
        if !srv(writer, service, record, record_head) {
            break;
        }
        fitting += 1;
    }
    writer.counts.answers += count_of(fitting);
    if fitting < wanted {
        writer.truncated = zone.truncate.srv || fitting == 0;
        return;
    }
    let mut target = start + POINTER_HEAD + SRV_DATA;
    let mut before = None;
    let heads = [(RecordType::A, 4), (RecordType::AAAA, 16)]
        .map(|(rtype, length)| head(0, rtype, service.ttl, length));
    for record in records {
        let Some(instance) = service.instances.get(record.instance) else { continue };
        // An instance with two ports of one name has two adjacent records, but its addresses are
        // added once.
        if before.replace(record.instance) != Some(record.instance) {
            additional_addresses(writer, target, &instance, heads);
        }
        target += target_length(service, &instance) + POINTER_HEAD + SRV_DATA;
    }
}

/// Writes an SRV record if it fits. `head` is its fixed part, apart from the length. Targets are
/// not compressed (RFC 2782).
fn srv(writer: &mut Writer<'_>, service: &Service, record: &SrvRecord, head: [u8; POINTER_HEAD]) -> bool {
    let instance = service.instances.get(record.instance);
    debug_assert!(instance.is_some(), "a record's instance is of the same service");
    let Some(instance) = instance else { return true };
    let length = target_length(service, &instance);
    if writer.remaining() < POINTER_HEAD + SRV_DATA + length {
        return false;
    }
    let mut fixed = [0; POINTER_HEAD + SRV_DATA];
    let (start, data) = fixed.split_at_mut(POINTER_HEAD);
    start.copy_from_slice(&head);
    if let Some(place) = start.last_chunk_mut() {
        *place = count_of(SRV_DATA + length).to_be_bytes();
    }
    for (place, field) in data.as_chunks_mut().0.iter_mut().zip([SRV_PRIORITY, record.weight, record.port]) {
        *place = field.to_be_bytes();
    }
    writer.bytes(&fixed);
    match instance.host {
        Some(host) => writer.bytes(host.as_wire()),
        None => {
            writer.bytes(instance.label);
            writer.bytes(service.name.as_wire());
        }
    }
    true
}

/// Adds the addresses of an SRV target if all of them fit. The target's name is at `at`. `heads`
/// are the fixed parts of an A and an AAAA record, apart from the owner.
fn additional_addresses(
    writer: &mut Writer<'_>,
    at: usize,
    instance: &InstanceAnswer<'_>,
    heads: [[u8; POINTER_HEAD]; 2],
) {
    // A compression pointer cannot reach further. The client can query these addresses.
    let Some(owner) = pointer(at) else { return };
    let size = instance.v4.len() * (POINTER_HEAD + 4) + instance.v6.len() * (POINTER_HEAD + 16);
    if writer.remaining() < size {
        return;
    }
    let [v4, v6] = heads.map(|mut head| {
        if let Some(place) = head.first_chunk_mut() {
            *place = owner.to_be_bytes();
        }
        head
    });
    for address in instance.v4 {
        writer.bytes(&v4_record(v4, *address));
    }
    for address in instance.v6 {
        writer.bytes(&v6_record(v6, *address));
    }
    writer.counts.additional += count_of(instance.v4.len() + instance.v6.len());
}
