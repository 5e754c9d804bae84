//! Any bytes as a request: no panic, and the reply is a message within the client's limit.
//!
//! The first byte tells how the request arrives: its lowest bit is TCP, the next one the local
//! address. The rest is the packet.

#![no_main]

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, OnceLock},
};

use hickory_proto::op::{Message, MessageType};
use libfuzzer_sys::fuzz_target;
use muster::{
    catalog::SnapshotCell,
    dns::{Context, Responder, Response, Rotation},
    telemetry::{Metrics, Transport},
};
use testkit::namespaces;

fn responder() -> &'static Responder {
    static RESPONDER: OnceLock<Responder> = OnceLock::new();
    RESPONDER.get_or_init(|| {
        let snapshot = namespaces::catalog(&namespaces::all()).snapshot();
        let metrics = Arc::new(Metrics::new().expect("metrics have valid names"));
        Responder::new(Arc::new(SnapshotCell::from_pointee(snapshot)), metrics, Some("fuzzed".to_owned()))
    })
}

/// Largest reply, in bytes; if hickory-proto cannot read the request, the largest of all.
fn limit(packet: &[u8], transport: Transport) -> usize {
    match (transport, Message::from_vec(packet)) {
        (Transport::Tcp, _) => 65_535,
        (_, Ok(Message { edns: Some(edns), .. })) => usize::from(edns.max_payload().clamp(512, 1232)),
        (_, Ok(_)) => 512,
        (_, Err(_)) => 1232,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((how, packet)) = data.split_first() else { return };
    let transport = if how & 1 == 1 { Transport::Tcp } else { Transport::Udp };
    let asked = if how & 2 == 2 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let mut answer = Vec::new();
    let context = Context { transport, local_addr: Some(asked), client: asked };
    // New cursors, so that an input always does the same.
    let response = responder().respond(packet, context, &mut Rotation::default(), &mut answer);
    if !matches!(response, Response::Ready) {
        return;
    }
    let message = Message::from_vec(&answer).expect("hickory-proto reads the answer");
    assert_eq!(answer.get(..2), packet.get(..2), "ID");
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert!(answer.len() <= limit(packet, transport), "{} bytes", answer.len());
    message.to_vec().expect("hickory-proto writes the answer");
});
