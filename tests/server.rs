//! A whole server on loopback: transports, limits, RFC 8906's questions, the demo's kind of probed service.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, prints what it measured, and has no outside"
)]

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    path::PathBuf,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use muster::{app::Server, config};

/// Long enough for a busy machine; nothing here waits for it unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

const ZONE: &str = r#"
namespace = "shop"
[services.web]
from = [{ static = ["127.0.0.11:80", "127.0.0.12:80", "[::1]:80"] }]
"#;

struct Running {
    server: Option<Server>,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn start(listen: &str, zone: &str) -> Self {
        let files = [
            (PathBuf::from("muster.toml"), format!("[listen]\n{listen}\n")),
            (PathBuf::from("zones/zone.toml"), zone.to_owned()),
        ];
        let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(&loaded.config)).unwrap();
        let running = Self { server: Some(server), runtime };
        running.wait_until_synced();
        running
    }

    fn loopback(zone: &str) -> Self {
        Self::start("dns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"", zone)
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn dns(&self) -> SocketAddr {
        self.server().dns()[0]
    }

    fn wait_until_synced(&self) {
        wait_for("every service is complete", || {
            let snapshot = self.server().cell().load();
            snapshot.view().services().iter().all(|service| service.complete)
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

fn with_edns(mut message: Message, change: impl FnOnce(&mut Edns)) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    change(&mut edns);
    message.edns = Some(edns);
    message
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn exchange_bytes(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = socket();
    socket.send_to(packet, server).unwrap();
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, server, "the answer comes from the address that was asked");
    buffer[..length].to_vec()
}

fn exchange(server: SocketAddr, message: &Message) -> Message {
    Message::from_vec(&exchange_bytes(server, &message.to_vec().unwrap())).unwrap()
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[test]
fn consecutive_answers_begin_with_successive_instances_whoever_asks() {
    let running = Running::loopback(ZONE);
    let firsts: Vec<_> = (0..6)
        .map(|_| addresses(&exchange(running.dns(), &query("web.shop.", RecordType::A)))[0].to_string())
        .collect();
    assert_eq!(firsts, ["127.0.0.11", "127.0.0.12"].repeat(3));
}

#[test]
fn the_first_address_is_spread_evenly_over_ten_thousand_look_ups() {
    let zone = "namespace = \"shop\"\n[services.web]\nfrom = [{ static = [\
        \"127.0.0.1:1\", \"127.0.0.2:1\", \"127.0.0.3:1\", \"127.0.0.4:1\", \"127.0.0.5:1\", \"127.0.0.6:1\", \"127.0.0.7:1\"] }]";
    let running = Running::loopback(zone);
    let socket = socket();
    let packet = query("web.shop.", RecordType::A).to_vec().unwrap();
    let mut counts = std::collections::BTreeMap::<IpAddr, u32>::new();
    let mut buffer = [0; 4096];
    for _ in 0..10_000 {
        socket.send_to(&packet, running.dns()).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        *counts.entry(addresses(&answer)[0]).or_default() += 1;
    }
    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert_eq!(counts.len(), 7);
    assert!(f64::from(most - least) / f64::from(*most) < 0.05, "{counts:?}");
}

#[test]
fn rfc_8906_questions_are_answered_as_it_says() {
    let running = Running::loopback(ZONE);
    let dns = running.dns();
    let ask = |message: &Message| exchange(dns, message);

    // 8.1.1, 8.1.2: known and unknown types
    let answer = ask(&query("shop.", RecordType::SOA));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    assert!(answer.metadata.authoritative && !answer.metadata.recursion_available);
    let answer = ask(&query("shop.", RecordType::Unknown(1000)));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(answer.authorities.len(), 1);

    // 8.1.3.1: CD and RD come back, AD does not
    let mut message = query("shop.", RecordType::SOA);
    message.metadata.checking_disabled = true;
    message.metadata.authentic_data = true;
    let answer = ask(&message);
    assert!(answer.metadata.checking_disabled && answer.metadata.recursion_desired);
    assert!(!answer.metadata.authentic_data);

    // 8.1.3.2: the reserved header flag is not copied
    let mut packet = query("shop.", RecordType::SOA).to_vec().unwrap();
    packet[3] |= 0x40;
    let answer = exchange_bytes(dns, &packet);
    assert_eq!((answer[3] & 0x4f, answer[2] & 0x80), (0, 0x80));

    // 8.1.4: an unknown operation
    let mut packet = query("shop.", RecordType::SOA).to_vec().unwrap();
    packet[2] = packet[2] & 0x87 | 15 << 3;
    let answer = exchange_bytes(dns, &packet);
    assert_eq!((answer[3] & 0x0f, answer[2] >> 3 & 0x0f), (4, 15), "NOTIMP");

    // 8.2.1: EDNS version 0
    let answer = ask(&with_edns(query("shop.", RecordType::SOA), |_| {}));
    assert_eq!(answer.edns.as_ref().map(|edns| (edns.version(), edns.max_payload())), Some((0, 1232)));

    // 8.2.2, 8.2.7: EDNS version 1, alone and with an unknown option
    for option in [false, true] {
        let answer = ask(&with_edns(query("shop.", RecordType::SOA), |edns| {
            edns.set_version(1);
            if option {
                edns.options_mut().insert(EdnsOption::Unknown(100, vec![1, 2, 3]));
            }
        }));
        // hickory-proto calls it BADSIG, which has the same number in another place.
        assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
        assert_eq!(answer.edns.as_ref().map(Edns::version), Some(0));
        assert!(answer.answers.is_empty());
    }

    // 8.2.3: unknown options are ignored and not sent back
    let answer = ask(&with_edns(query("shop.", RecordType::SOA), |edns| {
        edns.options_mut().insert(EdnsOption::Unknown(100, vec![1, 2, 3]));
    }));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    assert!(answer.edns.is_some_and(|edns| edns.option(EdnsCode::Unknown(100)).is_none()));

    // 8.2.4, 8.2.6: unknown EDNS flags are not copied, DO is
    let answer = ask(&with_edns(query("shop.", RecordType::SOA), |edns| {
        edns.flags_mut().z = 0x40;
        edns.flags_mut().dnssec_ok = true;
    }));
    let flags = *answer.edns.as_ref().unwrap().flags();
    assert_eq!((flags.z, flags.dnssec_ok), (0, true));

    // 8.3: TCP
    let mut stream = connect(dns);
    assert_eq!(ask_tcp(&mut stream, &query("shop.", RecordType::SOA)).answers.len(), 1);
}

#[test]
fn garbage_gets_formerr_or_silence_and_the_server_lives_on() {
    let running = Running::loopback(ZONE);
    let dns = running.dns();
    let good = query("web.shop.", RecordType::A).to_vec().unwrap();
    let socket = socket();
    let mut seed = 1_u64;
    for round in 0..3000_usize {
        let mut packet = good.clone();
        for _ in 0..=round % 7 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % packet.len();
            packet[at] ^= (seed >> 24) as u8;
        }
        packet.truncate(packet.len() - round % 5);
        socket.send_to(&packet, dns).unwrap();
    }
    for silent in [&b""[..], b"\x00", &[0xff; 11], &[0x80; 40]] {
        socket.send_to(silent, dns).unwrap();
    }
    let mut two_questions = good.clone();
    two_questions[5] = 2;
    assert_eq!(exchange_bytes(dns, &two_questions)[3] & 0x0f, 1, "FORMERR");
    assert_eq!(addresses(&exchange(dns, &query("web.shop.", RecordType::A))).len(), 2);
}

#[test]
fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    let running = Running::start("dns = [\"0.0.0.0:0\", \"[::]:0\"]", ZONE);
    let port = running.dns().port();
    for host in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
        let asked: SocketAddr = format!("{host}:{port}").parse().unwrap();
        // exchange_bytes asserts where the answer came from
        let answer = exchange(asked, &query("ns.shop.", RecordType::A));
        assert_eq!(addresses(&answer), [asked.ip()]);
    }
    let v6 = running.server().dns()[1];
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked: SocketAddr = format!("[::1]:{}", v6.port()).parse().unwrap();
    socket.send_to(&query("web.shop.", RecordType::AAAA).to_vec().unwrap(), asked).unwrap();
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, asked);
    assert_eq!(addresses(&Message::from_vec(&buffer[..length]).unwrap()), ["::1".parse::<IpAddr>().unwrap()]);
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn framed(message: &Message) -> Vec<u8> {
    let packet = message.to_vec().unwrap();
    [&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet.as_slice()].concat()
}

fn read_tcp(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    Message::from_vec(&packet).unwrap()
}

fn ask_tcp(stream: &mut TcpStream, message: &Message) -> Message {
    stream.write_all(&framed(message)).unwrap();
    read_tcp(stream)
}

#[test]
fn tcp_answers_pipelined_queries_however_they_are_cut() {
    let running = Running::loopback(ZONE);
    let mut stream = connect(running.dns());
    let mut queries = Vec::new();
    for id in 0..500 {
        let mut message = query("web.shop.", RecordType::A);
        message.metadata.id = id;
        queries.extend(framed(&message));
    }
    let writer = std::thread::spawn({
        let mut stream = stream.try_clone().unwrap();
        move || {
            for piece in queries.chunks(37) {
                stream.write_all(piece).unwrap();
            }
        }
    });
    let ids: Vec<_> = (0..500).map(|_| read_tcp(&mut stream).metadata.id).collect();
    writer.join().unwrap();
    assert_eq!(ids, (0..500).collect::<Vec<_>>());
}

#[test]
fn tcp_closes_silent_connections_and_those_beyond_the_cap() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]\ntcp_connections = 2\ntcp_idle = \"300ms\"", ZONE);
    let started = Instant::now();
    let mut open: Vec<_> = (0..2).map(|_| connect(running.dns())).collect();
    for stream in &mut open {
        assert_eq!(ask_tcp(stream, &query("web.shop.", RecordType::A)).answers.len(), 2);
    }
    let mut refused = connect(running.dns());
    assert!(matches!(refused.read(&mut [0; 1]), Ok(0) | Err(_)), "the third is closed");
    let mut byte = [0; 1];
    assert_eq!(open[0].read(&mut byte).unwrap(), 0, "closed for being silent");
    assert!(started.elapsed() >= Duration::from_millis(300));
    // Both places are free again, at the latest when the other one has been silent for as long.
    assert_eq!(open[1].read(&mut byte).unwrap(), 0);
    wait_for("a free place", || {
        let mut stream = connect(running.dns());
        let packet = framed(&query("web.shop.", RecordType::A));
        stream.write_all(&packet).is_ok() && matches!(stream.read(&mut [0; 1]), Ok(1))
    });
}

#[test]
fn tcp_takes_no_place_for_those_who_get_no_answer() {
    let text =
        "dns = [\"127.0.0.1:0\"]\ntcp_connections = 1\ntcp_idle = \"1h\"\n[access]\ndeny = \"127.0.0.9\"";
    let running = Running::start(text, ZONE);
    let denied = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    denied.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    denied.connect(&running.dns().into()).unwrap();
    denied.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut denied = TcpStream::from(denied);
    assert_eq!(denied.read(&mut [0; 1]).unwrap(), 0, "closed at once, though nothing was asked");
    let mut stream = connect(running.dns());
    assert_eq!(ask_tcp(&mut stream, &query("web.shop.", RecordType::A)).answers.len(), 2);
}

#[test]
fn tcp_gives_the_answers_that_it_has_before_it_closes_on_nonsense() {
    let running = Running::loopback(ZONE);
    let mut stream = connect(running.dns());
    let nothing = [0, 0];
    stream.write_all(&[framed(&query("web.shop.", RecordType::A)), nothing.to_vec()].concat()).unwrap();
    assert_eq!(read_tcp(&mut stream).answers.len(), 2);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed");
}

#[test]
fn tcp_does_not_let_single_bytes_hold_a_connection() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]\ntcp_idle = \"300ms\"", ZONE);
    let mut stream = connect(running.dns());
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.write_all(&[0xff, 0xff]).unwrap(); // a message of 65,535 bytes, which never becomes whole
    // 20 s of bytes, 20 ms apart: far more than 300 ms, however busy the machine is.
    let closed = (0..1000).any(|_| {
        let written = stream.write_all(&[0]).is_ok();
        let silent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        !written || !stream.read(&mut [0; 1]).is_err_and(|error| silent(&error))
    });
    assert!(closed);
}

#[test]
fn a_server_under_load_stops_at_once() {
    let running = Running::loopback(ZONE);
    let dns = running.dns();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let client = std::thread::spawn({
        let done = std::sync::Arc::clone(&done);
        move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let packet = query("web.shop.", RecordType::A).to_vec().unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = socket.send_to(&packet, dns);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
    });
    let started = Instant::now();
    drop(running);
    let took = started.elapsed();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    client.join().unwrap();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn ten_thousand_questions_from_one_port_are_all_answered() {
    let running = Running::loopback(ZONE);
    let socket = socket();
    let mut message = query("web.shop.", RecordType::A);
    let mut answered = std::collections::HashSet::new();
    let mut buffer = [0; 4096];
    // As many at once as a receive buffer surely holds, so that none is the kernel's to drop.
    for burst in 0..100_u16 {
        for at in 0..100 {
            message.metadata.id = burst * 100 + at;
            socket.send_to(&message.to_vec().unwrap(), running.dns()).unwrap();
        }
        for _ in 0..100 {
            let length = socket.recv(&mut buffer).unwrap();
            let answer = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!(addresses(&answer).len(), 2);
            answered.insert(answer.metadata.id);
        }
    }
    assert_eq!(answered.len(), 10_000);
}

#[test]
fn ipv6_sockets_answer_in_batches_too() {
    let running = Running::start("dns = [\"[::1]:0\"]", ZONE);
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..50 {
        socket.send_to(&query("web.shop.", RecordType::A).to_vec().unwrap(), running.dns()).unwrap();
    }
    let mut buffer = [0; 4096];
    for _ in 0..50 {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(addresses(&Message::from_vec(&buffer[..length]).unwrap()).len(), 2);
    }
}

#[test]
fn chaos_version_is_refused_unless_configured() {
    let version = |running: &Running| {
        let mut message = query("version.bind.", RecordType::TXT);
        message.queries[0].set_query_class(hickory_proto::rr::DNSClass::CH);
        exchange(running.dns(), &message)
    };
    assert_eq!(version(&Running::loopback(ZONE)).metadata.response_code, ResponseCode::Refused);
    let running = Running::start("dns = [\"127.0.0.1:0\"]\nversion = \"muster\"", ZONE);
    let answer = version(&running);
    assert!(matches!(&answer.answers[0].data, RData::TXT(text) if text.to_string() == "muster"), "{answer}");
}

#[test]
fn a_probed_instance_leaves_and_comes_back() {
    // An address that no client connects from, so that nobody takes the port that is given up for a while.
    let listener = std::net::TcpListener::bind("127.0.0.77:0").unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.77:0").unwrap();
    let (port, dead_port) = (listener.local_addr().unwrap().port(), dead.local_addr().unwrap().port());
    drop(dead);
    let zone = format!(
        "namespace = \"shop\"\n[services.web]\nfrom = [{{ static = [\"127.0.0.77:{port}\", \"127.0.0.77:{dead_port}\"], \
         check = {{ tcp = true, interval = \"100ms\", rise = 1, fall = 1 }} }}]"
    );
    let running = Running::loopback(&zone);
    let ports = || -> Vec<u16> {
        let answer = exchange(running.dns(), &query("web.shop.", RecordType::SRV));
        let port = |data: &RData| if let RData::SRV(srv) = data { Some(srv.port) } else { None };
        let mut ports: Vec<_> = answer.answers.iter().filter_map(|record| port(&record.data)).collect();
        ports.sort_unstable();
        ports
    };
    wait_for("only the live one", || ports() == [port]);
    let back = std::net::TcpListener::bind(("127.0.0.77", dead_port)).unwrap();
    wait_for("both", || ports().len() == 2);
    drop(listener);
    wait_for("only the other one", || ports() == [dead_port]);
    drop(back);
    wait_for("fail-open: both", || ports().len() == 2);
}

#[test]
fn the_admin_port_tells_health_readiness_and_metrics() {
    let running = Running::loopback(ZONE);
    exchange(running.dns(), &query("web.shop.", RecordType::A));
    let get = |path: &str| -> String {
        let mut stream = connect(running.server().admin().unwrap());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics");
    assert!(metrics.contains("muster_queries_total{rcode=\"NOERROR\",transport=\"udp\"} 1"), "{metrics}");
}

/// Asks from an address of loopback; `None` if nothing comes back before the answer to `127.0.0.1`, who asks later.
fn ask_from(running: &Running, client: &str, name: &str, rtype: RecordType) -> Option<Message> {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.send_to(&query(name, rtype).to_vec().unwrap(), running.dns()).unwrap();
    // One worker answers in the order in which questions come, so silence need not be waited for.
    exchange(running.dns(), &query("web.shop.", RecordType::A));
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

const ACCESS: &str = "dns = [\"127.0.0.1:0\"]\n[access]\nallow = [\"127.0.0.0/24\", \"127.0.1.1\"]\n\
    forward = \"127.0.0.1\"\ndeny = \"127.0.0.66\"";

#[test]
fn clients_are_answered_refused_or_ignored_by_their_networks() {
    let running = Running::start(ACCESS, ZONE);
    for client in ["127.0.0.1", "127.0.0.255", "127.0.1.1"] {
        let answer = ask_from(&running, client, "web.shop.", RecordType::A).unwrap();
        assert_eq!(addresses(&answer).len(), 2, "{client}");
    }
    for client in ["127.0.1.2", "127.9.9.9"] {
        for (name, rtype) in [
            ("web.shop.", RecordType::A),
            ("nothing.shop.", RecordType::A),
            ("shop.", RecordType::SOA),
            ("localhost.", RecordType::A),
            ("example.com.", RecordType::A),
        ] {
            let answer = ask_from(&running, client, name, rtype).unwrap();
            assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{client} {name}");
            assert!(answer.answers.is_empty() && answer.authorities.is_empty());
        }
    }
    for name in ["web.shop.", "example.com."] {
        assert!(ask_from(&running, "127.0.0.66", name, RecordType::A).is_none(), "{name}");
    }
}

#[test]
fn clients_over_tcp_are_told_apart_as_well() {
    let running = Running::start(ACCESS, ZONE);
    let ask = |client: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(client.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&running.dns().into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let packet = query("web.shop.", RecordType::A).to_vec().unwrap();
        // Closed before anything is asked, or after.
        stream.write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes()).ok()?;
        stream.write_all(&packet).ok()?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        Some(Message::from_vec(&answer).unwrap().metadata.response_code)
    };
    assert_eq!(ask("127.0.0.5"), Some(ResponseCode::NoError));
    assert_eq!(ask("127.0.5.5"), Some(ResponseCode::Refused));
    assert_eq!(ask("127.0.0.66"), None, "the connection is closed");
}

#[test]
fn clients_on_a_wildcard_socket_are_told_apart_as_well() {
    let running = Running::start(&ACCESS.replace("127.0.0.1:0", "0.0.0.0:0"), ZONE);
    let server = SocketAddr::new([127, 0, 0, 1].into(), running.dns().port());
    for (client, code) in [("127.0.0.5", ResponseCode::NoError), ("127.0.5.5", ResponseCode::Refused)] {
        let socket = UdpSocket::bind((client, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&query("web.shop.", RecordType::A).to_vec().unwrap(), server).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.response_code, code, "{client}");
    }
}

fn metric(running: &Running, line: &str) -> u64 {
    let mut stream = TcpStream::connect(running.server().admin().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value =
        text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {text}"));
    value.trim().parse().unwrap()
}

#[test]
fn equal_responses_are_limited_over_udp_unless_a_cookie_or_tcp_shows_the_address() {
    let access = "[access.responses]\nper_second = 3\nslip = 1\nexempt = []";
    let running =
        Running::start(&format!("dns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{access}"), ZONE);
    let plain = with_edns(query("web.shop.", RecordType::A), |_| {});
    let answers: Vec<_> = (0..40).map(|_| exchange(running.dns(), &plain)).collect();
    let (full, slipped): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| !answer.metadata.truncation);
    assert!((3..20).contains(&full.len()), "{}", full.len());
    for answer in slipped {
        assert!(answer.answers.is_empty() && answer.queries == plain.queries && answer.edns.is_some());
    }
    let counted = metric(&running, "muster_queries_restricted_total{reason=\"response_truncated\"}");
    assert_eq!(counted, 40 - full.len() as u64);

    let with_cookie = |cookie: &[u8]| {
        with_edns(query("web.shop.", RecordType::A), |edns| {
            edns.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
        })
    };
    let cookie_of = |answer: &Message| match answer.edns.as_ref().unwrap().option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(_, cookie)) => cookie.clone(),
        other => panic!("{other:?}"),
    };
    let cookie = cookie_of(&exchange(running.dns(), &with_cookie(&[5; 8])));
    assert_eq!((cookie.len(), &cookie[..8]), (24, &[5; 8][..]));
    for _ in 0..20 {
        let answer = exchange(running.dns(), &with_cookie(&cookie));
        assert!(!answer.metadata.truncation && addresses(&answer).len() == 2);
        assert_eq!(cookie_of(&answer), cookie);
    }
    let malformed = exchange(running.dns(), &with_cookie(&[5; 9]));
    assert_eq!(malformed.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn a_required_cookie_is_asked_for_over_udp() {
    let access = "[access.responses]\nexempt = []\n[access.cookies]\nrequired = true";
    let running = Running::start(&format!("dns = [\"127.0.0.1:0\"]\n{access}"), ZONE);
    let without = exchange(running.dns(), &query("web.shop.", RecordType::A));
    assert!(without.metadata.truncation && without.answers.is_empty());
    let ask = |cookie: Vec<u8>| {
        let message = with_edns(query("web.shop.", RecordType::A), |edns| {
            edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
        });
        exchange(running.dns(), &message)
    };
    let bad = ask(vec![5; 8]);
    assert_eq!(bad.metadata.response_code, ResponseCode::BADCOOKIE);
    let Some(EdnsOption::Unknown(_, cookie)) = bad.edns.as_ref().unwrap().option(EdnsCode::Cookie) else {
        panic!("{bad:?}");
    };
    assert_eq!(addresses(&ask(cookie.clone())).len(), 2);
}

#[test]
fn too_long_a_query_is_a_format_error() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]\n[access]\nlongest_query = 200", ZONE);
    let padded = |length| {
        let message = with_edns(query("web.shop.", RecordType::A), |edns| {
            edns.options_mut().insert(EdnsOption::Unknown(12, vec![0; length]));
        });
        exchange(running.dns(), &message).metadata.response_code
    };
    assert_eq!(padded(100), ResponseCode::NoError);
    assert_eq!(padded(200), ResponseCode::FormErr);
}

#[test]
fn special_names_are_answered_whatever_is_configured() {
    let running = Running::loopback(ZONE);
    let ask = |name, rtype| exchange(running.dns(), &query(name, rtype));
    assert_eq!(addresses(&ask("localhost.", RecordType::A)), [IpAddr::from([127, 0, 0, 1])]);
    assert_eq!(addresses(&ask("x.LOCALHOST.", RecordType::AAAA)), ["::1".parse::<IpAddr>().unwrap()]);
    let pointer = ask("1.0.0.127.in-addr.arpa.", RecordType::PTR);
    assert_eq!(pointer.answers[0].data.to_string(), "localhost.");
    for name in ["a.invalid.", "a.onion.", "a.test.", "tv.home.arpa.", "4.3.2.10.in-addr.arpa."] {
        let answer = ask(name, RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{name}");
        assert!(answer.metadata.authoritative);
        let soa = &answer.authorities[0];
        let zone = name.strip_prefix("a.").or(name.strip_prefix("tv.")).unwrap_or("10.in-addr.arpa.");
        assert_eq!((soa.name.to_string().as_str(), soa.record_type()), (zone, RecordType::SOA));
        assert_eq!(soa.data.to_string(), format!("{zone} nobody.invalid. 1 3600 1200 604800 60"));
    }
    let apex = ask("home.arpa.", RecordType::NS);
    assert_eq!(apex.answers[0].data.to_string(), "home.arpa.");
    assert_eq!(ask("home.arpa.", RecordType::MX).metadata.response_code, ResponseCode::NoError);
    assert_eq!(ask("example.com.", RecordType::A).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn our_own_namespaces_go_before_special_names() {
    let running = Running::loopback(&ZONE.replace("\"shop\"", "\"shop.test\""));
    let code = |name| exchange(running.dns(), &query(name, RecordType::A)).metadata.response_code;
    assert_eq!(code("web.shop.test."), ResponseCode::NoError);
    assert_eq!(code("other.test."), ResponseCode::NXDomain);
    let forwarded = Running::start("dns = [\"127.0.0.1:0\"]\n[forward]\n\"test\" = \"127.0.0.1:1\"", ZONE);
    let answer = exchange(forwarded.dns(), &query("other.test.", RecordType::A));
    assert_ne!(answer.metadata.response_code, ResponseCode::NXDomain, "it is for the upstream to say");
}
