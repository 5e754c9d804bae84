//! The records of special names.

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType},
};

use super::{
    super::special::{HOSTMASTER, LOCALHOST, NEGATIVE_TTL, Special, SpecialRecords, TTL},
    zone::address,
};
use crate::wire::{Section, Writer};

/// Writes the records of a special name.
pub(super) fn special(writer: &mut Writer<'_>, special: &Special) -> ResponseCode {
    let owner = writer.owner(0);
    match special.records {
        SpecialRecords::Address(loopback) => address(writer, loopback, TTL),
        SpecialRecords::Pointer => {
            writer.answer(owner, RecordType::PTR.into(), TTL, |w| w.bytes(LOCALHOST));
        }
        SpecialRecords::Ns => {
            let zone = writer.owner(special.zone);
            writer.answer(owner, RecordType::NS.into(), TTL, |w| w.bytes(&zone.to_be_bytes()));
        }
        SpecialRecords::Soa => soa(writer, special.zone, Section::Answer, TTL),
        SpecialRecords::NoData | SpecialRecords::NoName => {
            soa(writer, special.zone, Section::Authority, NEGATIVE_TTL);
        }
    }
    match special.records {
        SpecialRecords::NoName => ResponseCode::NXDomain,
        _ => ResponseCode::NoError,
    }
}

fn soa(writer: &mut Writer<'_>, zone: usize, section: Section, ttl: u32) {
    let zone = writer.owner(zone);
    writer.record(section, [zone, RecordType::SOA.into(), DNSClass::IN.into()], ttl, |w| {
        w.bytes(&zone.to_be_bytes());
        w.bytes(HOSTMASTER);
        for field in [1, 3600, 1200, 604_800, NEGATIVE_TTL] {
            w.bytes(&field.to_be_bytes());
        }
    });
}
