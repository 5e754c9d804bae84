//! Asking the addresses that a resolv.conf is to name, before it names them.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, bail};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::RecordType,
};

/// How long an answer may take, and how often it is asked for: UDP may lose either.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 2;

/// What is said of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// muster answers there.
    Answers,
    /// It is another machine's, and was not asked.
    NotOurs,
}

/// Asks `address`, if it is this machine's, for the namespace `apex`, or where there is none for `localhost`.
///
/// # Errors
/// When nobody answers, or somebody who does not answer for that name.
pub(super) fn ask(address: SocketAddr, apex: Option<&str>) -> anyhow::Result<Asked> {
    // Only an address of this machine can be bound to.
    let socket = match UdpSocket::bind((address.ip(), 0)) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(Asked::NotOurs),
        Err(error) => return Err(error).with_context(|| format!("cannot ask {address}")),
    };
    let (name, qtype) = apex.map_or(("localhost", RecordType::A), |apex| (apex, RecordType::SOA));
    let answer = exchange(&socket, address, name, qtype).with_context(|| {
        format!("muster does not answer at {address}; start it with this configuration first")
    })?;
    let code = answer.metadata.response_code;
    let is_own = apex.is_none() || answer.metadata.authoritative;
    if code != ResponseCode::NoError || answer.answers.is_empty() || !is_own {
        let source = if is_own { "" } else { ", and from elsewhere" };
        bail!(
            "who answers at {address} does not have {name}: {code}{source}; start muster there, with this configuration"
        );
    }
    Ok(Asked::Answers)
}

fn exchange(
    socket: &UdpSocket,
    address: SocketAddr,
    name: &str,
    qtype: RecordType,
) -> anyhow::Result<Message> {
    let id = rand::random();
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.parse()?, qtype));
    let question = question.to_vec()?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut room = [0; 4096];
    let mut failed = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(&question)?;
        match socket.recv(&mut room) {
            Ok(length) => {
                let answer = Message::from_vec(room.get(..length).unwrap_or_default())?;
                if answer.metadata.id == id && answer.metadata.message_type == MessageType::Response {
                    return Ok(answer);
                }
            }
            // "Resource temporarily unavailable" is what the system calls a wait that has ended.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => failed = error,
        }
    }
    bail!(failed)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Answers the first question as `change` has it, from a free port of loopback.
    fn server(change: fn(&mut Message)) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut room = [0; 512];
            let (length, client) = socket.recv_from(&mut room).unwrap();
            let question = Message::from_vec(&room[..length]).unwrap();
            let mut answer = question.clone();
            answer.metadata.message_type = MessageType::Response;
            answer.metadata.authoritative = true;
            let soa = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_bytes();
            let data = hickory_proto::rr::RData::Unknown {
                code: RecordType::Unknown(65_280),
                rdata: hickory_proto::rr::rdata::NULL::with(soa.to_vec()),
            };
            let name = question.queries[0].name().clone();
            answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 0, data));
            change(&mut answer);
            socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
        });
        address
    }

    #[test]
    fn who_has_the_namespace_is_muster() {
        assert_eq!(ask(server(|_| ()), Some("shop")).unwrap(), Asked::Answers);
        assert_eq!(
            ask(server(|answer| answer.metadata.authoritative = false), None).unwrap(),
            Asked::Answers
        );
    }

    #[test]
    fn another_server_is_told_from_muster() {
        for change in [
            (|answer| answer.metadata.authoritative = false) as fn(&mut Message),
            |answer| answer.metadata.response_code = ResponseCode::Refused,
            |answer| answer.answers.clear(),
        ] {
            let error = ask(server(change), Some("shop")).unwrap_err().to_string();
            assert!(error.contains("does not have shop"), "{error}");
        }
    }

    #[test]
    fn where_nobody_listens_the_error_says_so() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask(free, Some("shop")).unwrap_err().to_string();
        assert!(error.contains("does not answer") && error.contains(&free.to_string()), "{error}");
    }

    /// Binding fails before anything could be sent.
    #[test]
    fn another_machines_address_is_not_asked() {
        assert_eq!(ask("192.0.2.1:53".parse().unwrap(), Some("shop")).unwrap(), Asked::NotOurs);
    }
}
