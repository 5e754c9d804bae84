//! TCP: pipelining, and what may hold a connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};

use testkit::{running::Running, wait::PATIENCE};

use super::asking::{ZONE, ask_tcp, connect, framed, query, read_tcp};

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

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]), Ok(0)) || stream.take_error().is_ok_and(|error| error.is_some())
}

fn connect_from(client: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

#[test]
fn tcp_closes_silent_connections() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]\ntcp_idle = \"300ms\"", ZONE);
    let started = Instant::now();
    let mut stream = connect(running.dns());
    assert_eq!(ask_tcp(&mut stream, &query("web.shop.", RecordType::A)).answers.len(), 2);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed for being silent");
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn tcp_closes_the_connection_that_is_idle_longest_for_a_new_one() {
    let listen = "dns = [\"127.0.0.1:0\"]\ntcp_connections = 2\ntcp_idle = \"1h\"";
    let running = Running::start(listen, ZONE);
    let question = query("web.shop.", RecordType::A);
    let mut open: Vec<_> = (0..3).map(|_| connect(running.dns())).collect();
    assert_eq!(ask_tcp(&mut open[1], &question).answers.len(), 2);
    assert_eq!(ask_tcp(&mut open[2], &question).answers.len(), 2, "a new connection gets a slot");
    let mut fourth = connect(running.dns());
    assert_eq!(ask_tcp(&mut fourth, &question).answers.len(), 2);
    assert_eq!(ask_tcp(&mut open[2], &question).answers.len(), 2);
    assert!(open.drain(..2).all(|mut idle| is_closed(&mut idle)));
}

#[test]
fn tcp_clients_that_may_query_nothing_take_no_slot_from_others() {
    let listen = "dns = [\"127.0.0.1:0\"]\ntcp_connections = 4\ntcp_idle = \"1h\"\n\
        [access]\nallow = \"127.0.0.1\"";
    let running = Running::start(listen, ZONE);
    let question = query("web.shop.", RecordType::A);
    let mut stream = connect(running.dns());
    assert_eq!(ask_tcp(&mut stream, &question).answers.len(), 2);
    let mut strangers: Vec<_> = (2..42).map(|host| connect_from([127, 0, 0, host], running.dns())).collect();
    let last = strangers.last_mut().unwrap();
    assert_eq!(ask_tcp(last, &question).metadata.response_code, ResponseCode::Refused);
    assert_eq!(ask_tcp(&mut stream, &question).answers.len(), 2, "its connection is still open");
}

#[test]
fn tcp_does_not_wait_for_the_rest_of_too_long_a_query() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]\ntcp_idle = \"1h\"", ZONE);
    let mut stream = connect(running.dns());
    let mut start = query("web.shop.", RecordType::A).to_vec().unwrap();
    start.resize(1232, 0);
    stream.write_all(&[&[0xff, 0xff], &start[..]].concat()).unwrap();
    assert_eq!(read_tcp(&mut stream).metadata.response_code, ResponseCode::FormErr);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed");
}

#[test]
fn tcp_takes_no_place_for_those_who_get_no_answer() {
    let text =
        "dns = [\"127.0.0.1:0\"]\ntcp_connections = 1\ntcp_idle = \"1h\"\n[access]\ndeny = \"127.0.0.9\"";
    let running = Running::start(text, ZONE);
    let mut denied = connect_from([127, 0, 0, 9], running.dns());
    assert_eq!(denied.read(&mut [0; 1]).unwrap(), 0, "closed at once, though nothing was asked");
    let mut stream = connect(running.dns());
    assert_eq!(ask_tcp(&mut stream, &query("web.shop.", RecordType::A)).answers.len(), 2);
}

#[test]
fn tcp_sends_finished_answers_before_closing_on_nonsense() {
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
    // 20 s of bytes, 20 ms apart: far more than 300 ms, even on a busy machine.
    let closed = (0..1000).any(|_| {
        let written = stream.write_all(&[0]).is_ok();
        let silent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        !written || !stream.read(&mut [0; 1]).is_err_and(|error| silent(&error))
    });
    assert!(closed);
}

#[test]
fn tcp_sets_tc_on_no_answer() {
    let instances: Vec<_> =
        (0..2000).map(|at| format!("\"10.0.{}.{}:{}\"", at / 200, at % 200 + 1, at + 1)).collect();
    let zone = format!(
        "namespace = \"shop\"\n[services.web]\nfrom = [{{ static = [{}] }}]\nmax_answers = 1000\n",
        instances.join(", ")
    );
    let running = Running::loopback(&zone);
    let answer = ask_tcp(&mut connect(running.dns()), &query("web.shop.", RecordType::SRV));
    assert!(answer.answers.len() > 100, "{}", answer.answers.len());
    assert!(!answer.metadata.truncation);
}
