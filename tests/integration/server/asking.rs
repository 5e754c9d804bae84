//! Queries, and ways to send them.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};

use testkit::{running::Running, wait::PATIENCE};

pub const ZONE: &str = r#"
namespace = "shop"
[services.web]
from = [{ static = ["127.0.0.11:80", "127.0.0.12:80", "[::1]:80"] }]
"#;

pub fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

pub fn with_edns(mut message: Message, change: impl FnOnce(&mut Edns)) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    change(&mut edns);
    message.edns = Some(edns);
    message
}

pub fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Receives the next answer, which must come from the address that was queried.
pub fn receive_bytes(socket: &UdpSocket, from: SocketAddr) -> Vec<u8> {
    let mut room = [0; 4096];
    let (length, peer) = socket.recv_from(&mut room).unwrap();
    assert_eq!(peer, from, "the answer comes from the address that was asked");
    room[..length].to_vec()
}

pub fn receive(socket: &UdpSocket, from: SocketAddr) -> Message {
    Message::from_vec(&receive_bytes(socket, from)).unwrap()
}

pub fn exchange_bytes(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = socket();
    socket.send_to(packet, server).unwrap();
    receive_bytes(&socket, server)
}

pub fn exchange(server: SocketAddr, message: &Message) -> Message {
    Message::from_vec(&exchange_bytes(server, &message.to_vec().unwrap())).unwrap()
}

pub fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn write_message(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat()).unwrap();
}

pub fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

pub fn framed(message: &Message) -> Vec<u8> {
    let packet = message.to_vec().unwrap();
    [&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet.as_slice()].concat()
}

pub fn read_tcp(stream: &mut TcpStream) -> Message {
    Message::from_vec(&read_message(stream).expect("a message")).unwrap()
}

pub fn ask_tcp(stream: &mut TcpStream, message: &Message) -> Message {
    stream.write_all(&framed(message)).unwrap();
    read_tcp(stream)
}

/// Queries from a loopback address. `None` if no answer comes before the one to a later query from
/// 127.0.0.1.
pub fn ask_from(running: &Running, client: &str, name: &str, rtype: RecordType) -> Option<Message> {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.send_to(&query(name, rtype).to_vec().unwrap(), running.dns()).unwrap();
    // One worker answers queries in order, so silence needs no waiting.
    exchange(running.dns(), &query("web.shop.", RecordType::A));
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(&buffer[..length]).unwrap())
}
