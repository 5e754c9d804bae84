//! Answers over UDP: rotation, message limits, RFC 8906's tests, bursts, and special names.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{
        RData, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use testkit::{running::Running, wait::PATIENCE};

use super::asking::{
    ZONE, addresses, ask_tcp, connect, exchange, exchange_bytes, query, receive_bytes, socket, with_edns,
};

#[test]
fn consecutive_answers_start_with_successive_instances() {
    let running = Running::loopback(ZONE);
    let firsts: Vec<_> = (0..6)
        .map(|_| addresses(&exchange(running.dns(), &query("web.shop.", RecordType::A)))[0].to_string())
        .collect();
    assert_eq!(firsts, ["127.0.0.11", "127.0.0.12"].repeat(3));
}

#[test]
fn the_first_address_is_spread_evenly_over_10_000_lookups() {
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

    // 8.1.4: an unknown opcode
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
        // hickory-proto calls it BADSIG, which has the same number elsewhere.
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
fn garbage_gets_an_error_or_silence_and_the_server_lives_on() {
    let running = Running::loopback(ZONE);
    let good = query("web.shop.", RecordType::A).to_vec().unwrap();
    let mut codes = std::collections::BTreeMap::<u8, u32>::new();
    let mut seed = 1_u64;
    for round in 0..3000_usize {
        let mut packet = good.clone();
        for _ in 0..=round % 7 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % packet.len();
            packet[at] ^= (seed >> 24) as u8;
        }
        packet.truncate(packet.len() - round % 5);
        let replies = replies_to(running.dns(), &packet);
        // QR is set: answering responses could start a loop of two servers.
        if packet[2] & 0x80 != 0 {
            assert!(replies.is_empty(), "a reply to a response: {packet:02x?}");
            continue;
        }
        let [reply] = replies.as_slice() else { panic!("{} replies to {packet:02x?}", replies.len()) };
        let message = Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {packet:02x?}"));
        assert_eq!(reply[..2], packet[..2], "the ID comes back");
        assert_eq!(reply[2] & 0xf8, 0x80 | packet[2] & 0x78, "QR is set, and the opcode comes back");
        assert!(reply.len() <= if message.edns.is_some() { 1232 } else { 512 }, "{} bytes", reply.len());
        let code = reply[3] & 0x0f;
        let has_data = !message.answers.is_empty() || !message.authorities.is_empty();
        match code {
            // An error has no data.
            1 | 4 => assert!(!has_data && message.edns.is_none(), "{message}"),
            // The rest are queries for another name, type or class.
            0 | 3 => assert!(has_data, "{message}"),
            5 => assert!(!has_data, "{message}"),
            _ => panic!("response code {code} to {packet:02x?}"),
        }
        assert_eq!(code == 4, packet[2] & 0x78 != 0, "NOTIMP is for other opcodes: {packet:02x?}");
        *codes.entry(code).or_default() += 1;
    }
    assert!([0, 1, 3, 4, 5].iter().all(|code| codes.get(code).is_some_and(|count| *count > 10)), "{codes:?}");
    for silent in [&b""[..], b"\x00", &[0xff; 11], &[0x80; 40]] {
        assert!(replies_to(running.dns(), silent).is_empty(), "{silent:02x?}");
    }
    let mut two_questions = good.clone();
    two_questions[5] = 2;
    assert_eq!(exchange_bytes(running.dns(), &two_questions)[3] & 0x0f, 1, "FORMERR");
}

/// Every reply to a packet.
///
/// One worker answers all queries from one port, in order. So replies before the one to a later
/// query belong to the packet, and silence needs no waiting.
fn replies_to(server: SocketAddr, packet: &[u8]) -> Vec<Vec<u8>> {
    let socket = socket();
    let last = query("last.shop.", RecordType::A).to_vec().unwrap();
    socket.send_to(packet, server).unwrap();
    socket.send_to(&last, server).unwrap();
    let question = &last[12..];
    std::iter::repeat_with(|| receive_bytes(&socket, server))
        .take_while(|reply| reply.get(12..12 + question.len()) != Some(question))
        .collect()
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

#[test]
fn ten_thousand_questions_from_one_port_are_all_answered() {
    let running = Running::loopback(ZONE);
    let socket = socket();
    let mut message = query("web.shop.", RecordType::A);
    let mut answered = std::collections::HashSet::new();
    let mut buffer = [0; 4096];
    // No more at once than a receive buffer holds, so the kernel drops none.
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
