//! TCP: pipelining, and what may hold a connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use hickory_proto::rr::RecordType;

use testkit::{
    running::Running,
    wait::{PATIENCE, wait_for},
};

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
    // Both slots are free again, at the latest when the other connection has been idle as long.
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
