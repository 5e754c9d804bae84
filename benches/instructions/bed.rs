//! A server with one small namespace, for questions that are asked over and over.

use std::{net::Ipv4Addr, sync::Arc};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use muster::{
    catalog::{Catalog, Cell},
    config,
    dns::{Context, Responder, Rotation},
    model::{Health, Instance, Target, Update},
    telemetry::{Metrics, Transport},
};

const SERVICES: usize = 1000;
const INSTANCES: u8 = 10;

/// A server with 1,000 services of ten instances with both kinds of addresses, and `nodata`, which has none.
pub struct Bed {
    responder: Responder,
    rotation: Rotation,
    out: Vec<u8>,
}

impl Bed {
    /// Makes the server.
    pub fn new() -> Self {
        let mut zone = "namespace = \"bed.test\"\nmax_answers = 10\n".to_owned();
        for at in 0..SERVICES {
            zone += &format!("[services.s{at}]\nfrom = [{{ consul = \"vms\", service = \"s\" }}]\n");
        }
        zone += "[services.nodata]\nfrom = [{ consul = \"vms\", service = \"s\" }]\n";
        let files = [("muster.toml".into(), "[consul.vms]\n".to_owned()), ("zones/bed.toml".into(), zone)];
        let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let mut catalog = Catalog::new(&loaded.config, 1);
        for service in &loaded.config.namespaces[0].services {
            let count = if service.name.to_string().starts_with("nodata") { 0 } else { INSTANCES };
            for (member, _) in service.members() {
                let instances = (0..count).map(instance).collect();
                catalog.apply(Update::Reset { member, instances });
            }
        }
        catalog.publish();
        let cell = Arc::new(Cell::from_pointee(catalog.snapshot()));
        let metrics = Metrics::new().expect("metrics have valid names");
        Self {
            responder: Responder::new(cell, Arc::new(metrics), None),
            rotation: Rotation::default(),
            out: Vec::with_capacity(4096),
        }
    }

    /// Answers a query over UDP.
    pub fn answer(&mut self, query: &[u8]) -> &[u8] {
        let client = Ipv4Addr::LOCALHOST.into();
        let context = Context { transport: Transport::Udp, asked: Some(client), client };
        let any = self.responder.respond(query, context, &mut self.rotation, &mut self.out);
        assert!(any, "silence");
        &self.out
    }
}

fn instance(at: u8) -> Instance {
    let v6 = [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(at)];
    Instance {
        health: Health::Healthy,
        target: Target::Addresses([[10, 0, 0, at].into(), v6.into()].into()),
        ..Instance::at(&format!("i{at}"), Ipv4Addr::LOCALHOST.into(), 80)
    }
}

/// A query for a name below the namespace, as bytes.
pub fn query(below: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::new(0x4d55, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii(format!("{below}.bed.test.")).expect("a name");
    message.add_query(Query::query(name, rtype));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        message.edns = Some(edns);
    }
    message.to_vec().expect("a message")
}
