//! Peeking: the answer that somebody would get, made by the answer path itself, for explanations.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name as WireName, Record, RecordType},
};

use super::{
    access::Standing,
    encode::UDP_LIMIT,
    question::{Request, read},
    responder::{Context, Responder, look_up},
    rotation::Rotation,
};
use crate::{
    model::{GivenAnswer, Name},
    telemetry::Transport,
};

impl Responder {
    /// Makes the answer that `client` would get over UDP now, at the turn that `rotation` has. Counts nothing, and limits
    /// nothing: what is said of rates and cookies is left out.
    pub fn peek(
        &self,
        (name, qtype): (&Name, RecordType),
        client: IpAddr,
        rotation: &mut Rotation,
    ) -> GivenAnswer {
        let mut out = Vec::new();
        let written = question(name, qtype).and_then(|packet| {
            let mut room = [0; 256];
            let Request::Query { header, question, edns } = read(&packet, &mut room) else {
                return Some(Err("this is no question that is answered"));
            };
            let context = Context { transport: Transport::Udp, asked: None, client };
            let client = self.guard().client(client);
            if client.standing == Standing::Denied {
                return Some(Err("[access] deny has the client: it gets no answer at all"));
            }
            let snapshot = self.cell().load();
            let view = snapshot.view();
            let request = Request::Query { header, question, edns };
            let found = (&view, look_up(&view, &request));
            self.write_query_answer((header, &question, edns), found, (context, client), rotation, &mut out);
            Some(Ok(client.standing))
        });
        match written {
            None => nothing("no question can be made of this name"),
            Some(Err(why)) => nothing(why),
            Some(Ok(standing)) => match Message::from_vec(&out) {
                Ok(message) => decoded(&message, standing),
                Err(_) => nothing("the answer cannot be read"),
            },
        }
    }
}

fn question(name: &Name, qtype: RecordType) -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    let name = WireName::from_labels(name.labels()).ok()?;
    message.add_query(Query::query(name, qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_LIMIT);
    message.edns = Some(edns);
    message.to_vec().ok()
}

fn nothing(why: &str) -> GivenAnswer {
    GivenAnswer {
        code: None,
        why: Some(why.to_owned()),
        truncated: false,
        answers: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
    }
}

fn decoded(message: &Message, standing: Standing) -> GivenAnswer {
    let records = |records: &[Record]| records.iter().map(ToString::to_string).collect();
    let code = u16::from(message.metadata.response_code);
    let stranger = "[access] allow does not have the client";
    GivenAnswer {
        code: Some(code_name(code)),
        why: (standing == Standing::Stranger).then(|| stranger.to_owned()),
        truncated: message.metadata.truncation,
        answers: records(&message.answers),
        authority: records(&message.authorities),
        additional: records(&message.additionals),
    }
}

/// A response code as `dig` writes it.
fn code_name(code: u16) -> String {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return format!("RCODE{other}"),
    };
    name.to_owned()
}
