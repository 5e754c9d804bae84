//! Names and records of the oracle.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{A, AAAA},
};

/// Length of a message's header, in bytes.
pub const HEADER: usize = 12;

/// The labels of a name in text.
pub fn split(text: &str) -> Vec<Vec<u8>> {
    text.split('.').map(|label| label.as_bytes().to_vec()).collect()
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

/// A name in wire format, uncompressed.
pub fn wire(name: &Name) -> Vec<u8> {
    let labels = name.iter().flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label].concat());
    labels.chain([0]).collect()
}

pub fn a(owner: &Name, ttl: u32, address: Ipv4Addr) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::A(A(address)))
}

pub fn aaaa(owner: &Name, ttl: u32, address: Ipv6Addr) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::AAAA(AAAA(address)))
}
