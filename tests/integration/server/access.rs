//! Access control and rate limits.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use testkit::{running::Running, wait::PATIENCE};

use super::asking::{ZONE, addresses, ask_from, exchange, query, with_edns};

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
        // The server closes the connection before the query, or after it.
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
fn rate_limits_spare_clients_with_a_cookie_or_tcp() {
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
        let answer = exchange(running.dns(), &message);
        assert_eq!((&answer.queries, answer.edns.is_some()), (&message.queries, true), "{length}");
        answer.metadata.response_code
    };
    assert_eq!(padded(100), ResponseCode::NoError);
    assert_eq!(padded(200), ResponseCode::FormErr);
}

#[test]
fn an_error_has_an_opt_record_if_the_request_has_one() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]", ZONE);
    let malformed = with_edns(query("web.shop.", RecordType::A), |edns| {
        edns.options_mut().insert(EdnsOption::Unknown(10, vec![5; 9]));
    });
    let mut notify = with_edns(query("web.shop.", RecordType::A), |_| {});
    notify.metadata.op_code = OpCode::Notify;
    for (request, code) in [(malformed, ResponseCode::FormErr), (notify, ResponseCode::NotImp)] {
        let answer = exchange(running.dns(), &request);
        assert_eq!(answer.metadata.response_code, code);
        assert_eq!((&answer.queries, answer.edns.is_some()), (&request.queries, true), "{code}");
    }
}

#[test]
fn a_query_without_a_question_gets_a_cookie() {
    let running = Running::start("dns = [\"127.0.0.1:0\"]", ZONE);
    let ask = |cookie: &[u8]| {
        let message = with_edns(Message::new(77, MessageType::Query, OpCode::Query), |edns| {
            edns.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
        });
        let answer = exchange(running.dns(), &message);
        let option = answer.edns.as_ref().unwrap().option(EdnsCode::Cookie).cloned();
        let Some(EdnsOption::Unknown(_, cookie)) = option else { panic!("{answer:?}") };
        (answer.metadata.response_code, cookie)
    };
    let (code, cookie) = ask(&[5; 8]);
    assert_eq!((code, cookie.len()), (ResponseCode::NoError, 24));
    assert_eq!(ask(&cookie), (ResponseCode::NoError, cookie));
    for length in [16, 24, 40] {
        assert_eq!(ask(&vec![5; length]).0, ResponseCode::BADCOOKIE, "{length} bytes");
    }
}

#[test]
fn another_edns_version_is_told_so_before_a_cookie_is_required() {
    let access = "[access.responses]\nexempt = []\n[access.cookies]\nrequired = true";
    let running = Running::start(&format!("dns = [\"127.0.0.1:0\"]\n{access}"), ZONE);
    let message = with_edns(query("web.shop.", RecordType::A), |edns| {
        edns.set_version(1);
    });
    let code = exchange(running.dns(), &message).metadata.response_code;
    assert_eq!(u16::from(code), u16::from(ResponseCode::BADVERS));
}
