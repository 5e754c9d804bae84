//! Checks that muster answers before a resolv.conf names it.

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

/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How often the query is sent: UDP may lose it, or the response.
const TRIES: u32 = 2;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// muster answers there.
    Answers,
    /// Another machine has the address; no query was sent.
    NotLocal,
}

/// Queries `address`, if this machine has it, for the namespace `apex`, or for `localhost` if there
/// is none.
///
/// # Errors
/// When nothing answers there, or another server does.
pub(super) fn check_running(address: SocketAddr, apex: Option<&str>) -> anyhow::Result<Reachability> {
    // Only a local address can be bound to.
    let socket = match UdpSocket::bind((address.ip(), 0)) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(Reachability::NotLocal),
        Err(error) => return Err(error).with_context(|| format!("cannot query {address}")),
    };
    let (name, qtype) = apex.map_or(("localhost", RecordType::A), |apex| (apex, RecordType::SOA));
    let response = query(&socket, address, name, qtype).with_context(|| {
        format!("muster does not answer at {address}; start it with this configuration first")
    })?;
    let code = response.metadata.response_code;
    let is_own = apex.is_none() || response.metadata.authoritative;
    if code != ResponseCode::NoError || response.answers.is_empty() || !is_own {
        let authority = if is_own { "" } else { ", not authoritative" };
        bail!(
            "the server at {address} does not have {name} ({code}{authority}); \
             start muster there, with this configuration"
        );
    }
    Ok(Reachability::Answers)
}

/// Sends a query, repeatedly if there is no response.
fn query(socket: &UdpSocket, address: SocketAddr, name: &str, qtype: RecordType) -> anyhow::Result<Message> {
    let id = rand::random();
    let mut query = Message::new(id, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name.parse()?, qtype));
    let query = query.to_vec()?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut buffer = [0; 4096];
    let mut failed = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(&query)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                debug_assert!(length <= buffer.len(), "the system writes no more than the buffer");
                let response = Message::from_vec(buffer.get(..length).unwrap_or_default())?;
                if response.metadata.id == id && response.metadata.message_type == MessageType::Response {
                    return Ok(response);
                }
            }
            // The system reports a timeout as "Resource temporarily unavailable".
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

    /// Answers the first query, with `change` applied, on a free port of loopback.
    fn server(change: fn(&mut Message)) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = query.clone();
            answer.metadata.message_type = MessageType::Response;
            answer.metadata.authoritative = true;
            let soa = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_bytes();
            let data = hickory_proto::rr::RData::Unknown {
                code: RecordType::Unknown(65_280),
                rdata: hickory_proto::rr::rdata::NULL::with(soa.to_vec()),
            };
            let name = query.queries[0].name().clone();
            answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 0, data));
            change(&mut answer);
            socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
        });
        address
    }

    #[test]
    fn a_server_with_the_namespace_is_muster() {
        assert_eq!(check_running(server(|_| ()), Some("shop")).unwrap(), Reachability::Answers);
        assert_eq!(
            check_running(server(|answer| answer.metadata.authoritative = false), None).unwrap(),
            Reachability::Answers
        );
    }

    #[test]
    fn other_servers_are_refused() {
        for change in [
            (|answer| answer.metadata.authoritative = false) as fn(&mut Message),
            |answer| answer.metadata.response_code = ResponseCode::Refused,
            |answer| answer.answers.clear(),
        ] {
            let error = check_running(server(change), Some("shop")).unwrap_err().to_string();
            assert!(error.contains("does not have shop"), "{error}");
        }
    }

    #[test]
    fn a_closed_port_is_an_error_that_names_it() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = check_running(free, Some("shop")).unwrap_err().to_string();
        assert!(error.contains("does not answer") && error.contains(&free.to_string()), "{error}");
    }

    /// Binding fails before anything could be sent.
    #[test]
    fn addresses_of_other_machines_are_not_queried() {
        assert_eq!(
            check_running("192.0.2.1:53".parse().unwrap(), Some("shop")).unwrap(),
            Reachability::NotLocal
        );
    }
}
