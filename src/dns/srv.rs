//! SRV records (RFC 2782), with their targets' addresses beside them.

use hickory_proto::rr::{DNSClass, RecordType};

use super::{
    encode::{QUESTION_NAME, RECORD, Writer, count_of, record_head, v4_record, v6_record},
    rotation::{Start, arranged},
};
use crate::catalog::{InstanceAnswer, Service, SrvRecord, Zone};

/// Priority of every SRV record: policy decides who is answered, not who is tried first.
const SRV_PRIORITY: u16 = 0;

/// Length of an SRV record's data before the target.
const SRV_DATA: usize = 6;

/// Length of an SRV target in wire format.
fn target_length(service: &Service, instance: &InstanceAnswer<'_>) -> usize {
    match instance.host {
        Some(host) => host.as_wire().len(),
        None => instance.label.len() + service.name.as_wire().len(),
    }
}

impl Writer<'_> {
    /// Writes the records in this order, and what fits of their targets' addresses if all of the records do.
    pub(super) fn services(&mut self, zone: &Zone, service: &Service, list: &[SrvRecord], order: Start) {
        let wanted = list.len().min(usize::from(service.max_answers));
        // Where the first record begins, to find the targets' names again for the additional section.
        let start = self.out.len();
        let mut fitting = 0;
        let head = record_head(QUESTION_NAME, RecordType::SRV, DNSClass::IN, service.ttl, 0);
        let records = arranged(list, order, wanted);
        for record in records {
            if !self.srv(service, record, head) {
                break;
            }
            fitting += 1;
        }
        self.answers += count_of(fitting);
        if fitting < wanted {
            self.truncated = zone.truncate.srv || fitting == 0;
            return;
        }
        let mut target = start + RECORD + SRV_DATA;
        let mut before = None;
        let heads = [(RecordType::A, 4), (RecordType::AAAA, 16)]
            .map(|(rtype, length)| record_head(0, rtype, DNSClass::IN, service.ttl, length));
        for record in records {
            let Some(instance) = service.instances.get(record.instance) else { continue };
            // An instance with two ports of one name stands twice in a row; its addresses need not.
            if before.replace(record.instance) != Some(record.instance) {
                self.additional_addresses(target, &instance, heads);
            }
            target += target_length(service, &instance) + RECORD + SRV_DATA;
        }
    }

    /// Writes an SRV record if it fits; `head` is its beginning, but for the length. Targets are not compressed (RFC 2782).
    fn srv(&mut self, service: &Service, record: &SrvRecord, head: [u8; RECORD]) -> bool {
        let Some(instance) = service.instances.get(record.instance) else { return true };
        let length = target_length(service, &instance);
        if self.room() < RECORD + SRV_DATA + length {
            return false;
        }
        let mut fixed = [0; RECORD + SRV_DATA];
        let (start, data) = fixed.split_at_mut(RECORD);
        start.copy_from_slice(&head);
        if let Some(place) = start.last_chunk_mut() {
            *place = count_of(SRV_DATA + length).to_be_bytes();
        }
        for (place, field) in
            data.as_chunks_mut().0.iter_mut().zip([SRV_PRIORITY, record.weight, record.port])
        {
            *place = field.to_be_bytes();
        }
        self.out.extend_from_slice(&fixed);
        match instance.host {
            Some(host) => self.out.extend_from_slice(host.as_wire()),
            None => {
                self.out.extend_from_slice(instance.label);
                self.out.extend_from_slice(service.name.as_wire());
            }
        }
        true
    }

    /// Adds the addresses of an SRV target if all of them fit; `at` is where its name stands, and `heads` are the beginnings of
    /// an A and an AAAA record, but for the owner.
    fn additional_addresses(&mut self, at: usize, instance: &InstanceAnswer<'_>, heads: [[u8; RECORD]; 2]) {
        // Beyond what a pointer can reach (RFC 1035 section 4.1.4) the client can ask for itself.
        let Some(owner) = u16::try_from(at).ok().filter(|at| *at < 0x4000) else { return };
        let size = instance.v4.len() * (RECORD + 4) + instance.v6.len() * (RECORD + 16);
        if self.room() < size {
            return;
        }
        let [v4, v6] = heads.map(|mut head| {
            if let Some(place) = head.first_chunk_mut() {
                *place = (0xc000 | owner).to_be_bytes();
            }
            head
        });
        for address in instance.v4 {
            self.out.extend_from_slice(&v4_record(v4, *address));
        }
        for address in instance.v6 {
            self.out.extend_from_slice(&v6_record(v6, *address));
        }
        self.additional += count_of(instance.v4.len() + instance.v6.len());
    }
}
