//! A whole server on loopback that forwards to an upstream of the test.

use std::{
    io::Write as _,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            CNAME, SOA, TXT,
            opt::{EdnsCode, EdnsOption},
        },
    },
};
use muster::config;

use testkit::{running::Running, wait::PATIENCE};

use super::asking::{ask_tcp, connect, exchange, query, read_message, receive, socket, write_message};

const ZONE: &str = "namespace = \"shop\"\n[services.web]\nfrom = [{ static = [\"127.0.0.11:80\"] }]\n\
    [services.away]\nfrom = [{ static = [\"chain.example:80\"] }]\n\
    [services.big]\nfrom = [{ static = [\"big.example:80\"] }]\n\
    [services.gone]\nfrom = [{ static = [\"gone.example:80\"] }]\n\
    [services.nowhere]\nfrom = [{ static = [\"a.test:80\"] }]\n";

/// An upstream: answers names with one A record, `big…` with 4 KiB of TXT, and `slow…` when told
/// to.
struct Upstream {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Each message releases one slow answer.
    release: Sender<()>,
}

impl Upstream {
    fn start() -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (release, released) = channel();
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || serve_udp(&socket, &seen, &Arc::new(Mutex::new(released))));
        std::thread::spawn(move || serve_tcp(&listener));
        Self { address, asked, release }
    }

    fn count(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

fn serve_udp(socket: &UdpSocket, asked: &Mutex<Vec<String>>, released: &Arc<Mutex<Receiver<()>>>) {
    let mut room = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut room) {
        let query = Message::from_vec(&room[..length]).unwrap();
        let name = query.queries[0].name().to_ascii();
        asked.lock().unwrap().push(name.clone());
        let mut answer = answer(&query);
        if name.starts_with("big") {
            answer.answers.clear();
            answer.metadata.truncation = true;
        }
        let answer = answer.to_vec().unwrap();
        if name.starts_with("slow") {
            let (socket, released) = (socket.try_clone().unwrap(), Arc::clone(released));
            std::thread::spawn(move || {
                if released.lock().unwrap().recv().is_ok() {
                    let _ = socket.send_to(&answer, peer);
                }
            });
        } else {
            let _ = socket.send_to(&answer, peer);
        }
    }
}

fn serve_tcp(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            while let Some(query) = read_message(&mut stream) {
                let answer = answer(&Message::from_vec(&query).unwrap()).to_vec().unwrap();
                write_message(&mut stream, &answer);
            }
        });
    }
}

fn answer(query: &Message) -> Message {
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    let question = query.queries[0].clone();
    if question.name().to_ascii().starts_with("gone") {
        answer.metadata.response_code = ResponseCode::NXDomain;
        let apex = Name::from_ascii("example.").unwrap();
        let soa = SOA::new(apex.clone(), apex.clone(), 1, 2, 3, 4, 5);
        answer.add_authority(Record::from_rdata(apex, 5, RData::SOA(soa)));
    } else if question.name().to_ascii().starts_with("lone") {
        // The end of the alias has no such record. The target is in another top-level domain, so it
        // is not compressed.
        let target = Name::from_ascii("end.test.").unwrap();
        let alias = RData::CNAME(CNAME(target));
        answer.add_answer(Record::from_rdata(question.name().clone(), 60, alias));
        let apex = Name::from_ascii("test.").unwrap();
        let soa = SOA::new(apex.clone(), apex.clone(), 1, 2, 3, 4, 60);
        answer.add_authority(Record::from_rdata(apex, 60, RData::SOA(soa)));
    } else if question.name().to_ascii().starts_with("chain") {
        let target = Name::from_ascii("www.example.").unwrap();
        let alias = RData::CNAME(CNAME(target.clone()));
        answer.add_answer(Record::from_rdata(question.name().clone(), 60, alias));
        let address = RData::A(Ipv4Addr::new(192, 0, 2, 1).into());
        answer.add_answer(Record::from_rdata(target, 60, address));
    } else if question.name().to_ascii().starts_with("big") {
        for at in 0..16 {
            let text = RData::TXT(TXT::new(vec![format!("{at:0250}")]));
            answer.add_answer(Record::from_rdata(question.name().clone(), 60, text));
        }
    } else {
        answer.metadata.truncation = question.name().to_ascii().starts_with("cut");
        let address = RData::A(Ipv4Addr::new(192, 0, 2, 1).into());
        answer.add_answer(Record::from_rdata(question.name().clone(), 60, address));
    }
    answer.add_query(question);
    answer
}

/// A server that forwards, and its upstream.
struct Forwarding {
    server: Running,
    upstream: Upstream,
}

impl Forwarding {
    fn start(address: &str) -> Self {
        Self::with(address, "example", "")
    }

    /// Forwards names below `suffix`. `tables` is the rest of `muster.toml`.
    fn with(address: &str, suffix: &str, tables: &str) -> Self {
        let upstream = Upstream::start();
        let server = format!(
            "[listen]\ndns = [\"{address}\"]\n{tables}\n[forward]\n{suffix:?} = {{ to = \"{}\", timeout = \"20s\" }}\n",
            upstream.address
        );
        Self { server: Running::of(&server, ZONE), upstream }
    }

    fn dns(&self) -> SocketAddr {
        self.server.dns()
    }
}

fn name_of(message: &Message) -> String {
    message.queries[0].name().to_ascii()
}

#[test]
fn a_slow_question_does_not_delay_the_next_over_udp() {
    let running = Forwarding::start("127.0.0.1:0");
    let socket = socket();
    for name in ["slow.example.", "quick.example.", "web.shop."] {
        socket.send_to(&query(name, RecordType::A).to_vec().unwrap(), running.dns()).unwrap();
    }
    let mut names =
        [receive(&socket, running.dns()), receive(&socket, running.dns())].map(|one| name_of(&one));
    names.sort();
    assert_eq!(names, ["quick.example.", "web.shop."]);
    running.upstream.release.send(()).unwrap();
    let slow = receive(&socket, running.dns());
    assert_eq!((name_of(&slow).as_str(), slow.answers.len()), ("slow.example.", 1));
}

#[test]
fn answers_on_one_connection_come_when_they_are_there() {
    let running = Forwarding::start("127.0.0.1:0");
    let mut stream = connect(running.dns());
    for name in ["slow.example.", "quick.example.", "web.shop."] {
        write_message(&mut stream, &query(name, RecordType::A).to_vec().unwrap());
    }
    let mut names = [0; 2].map(|_| name_of(&Message::from_vec(&read_message(&mut stream).unwrap()).unwrap()));
    names.sort();
    assert_eq!(names, ["quick.example.", "web.shop."]);
    running.upstream.release.send(()).unwrap();
    let slow = Message::from_vec(&read_message(&mut stream).unwrap()).unwrap();
    assert_eq!((name_of(&slow).as_str(), slow.answers.len()), ("slow.example.", 1));
}

#[test]
fn more_questions_than_may_be_pending_are_all_answered() {
    let running = Forwarding::start("127.0.0.1:0");
    let mut stream = connect(running.dns());
    let all: Vec<u8> = (0..1000)
        .flat_map(|at| {
            let packet = query(&format!("n{at}.example."), RecordType::A).to_vec().unwrap();
            [u16::try_from(packet.len()).unwrap().to_be_bytes().to_vec(), packet].concat()
        })
        .collect();
    stream.write_all(&all).unwrap();
    let names: std::collections::BTreeSet<_> = (0..1000)
        .map(|_| name_of(&Message::from_vec(&read_message(&mut stream).unwrap()).unwrap()))
        .collect();
    assert_eq!(names.len(), 1000);
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let running = Forwarding::start("127.0.0.1:0");
    let mut stream = connect(running.dns());
    write_message(&mut stream, &query("slow.example.", RecordType::A).to_vec().unwrap());
    stream.shutdown(Shutdown::Write).unwrap();
    running.upstream.release.send(()).unwrap();
    let answer = Message::from_vec(&read_message(&mut stream).unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 1);
    assert!(read_message(&mut stream).is_none(), "then the connection is closed");
}

#[test]
fn a_wildcard_socket_forwards_and_keeps_the_address() {
    let running = Forwarding::start("0.0.0.0:0");
    for (at, host) in [[127, 0, 0, 1], [127, 0, 0, 7]].into_iter().enumerate() {
        let to = SocketAddr::from((host, running.dns().port()));
        let message = query(&format!("n{at}.example."), RecordType::A);
        for _ in 0..2 {
            assert_eq!(exchange(to, &message).answers.len(), 1);
        }
    }
}

#[test]
fn what_does_not_fit_is_had_over_tcp() {
    let running = Forwarding::start("127.0.0.1:0");
    let mut message = query("big.example.", RecordType::TXT);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.edns = Some(edns);
    for _ in 0..2 {
        let cut = exchange(running.dns(), &message);
        assert!(cut.metadata.truncation && cut.answers.len() < 16);
    }
    let mut stream = connect(running.dns());
    write_message(&mut stream, &message.to_vec().unwrap());
    let whole = Message::from_vec(&read_message(&mut stream).unwrap()).unwrap();
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 16));
    assert_eq!(running.upstream.count("big.example."), 1);
}

#[test]
fn own_names_are_not_forwarded_and_unknown_suffixes_refused() {
    let running = Forwarding::start("127.0.0.1:0");
    let ask = |name: &str, rtype| {
        let answer = exchange(running.dns(), &query(name, rtype));
        assert!(answer.metadata.recursion_available, "{name}: RA");
        (answer.metadata.response_code, answer.metadata.authoritative, answer.answers.len())
    };
    assert_eq!(ask("web.shop.", RecordType::A), (ResponseCode::NoError, true, 1));
    assert_eq!(ask("no.shop.", RecordType::A), (ResponseCode::NXDomain, true, 0));
    assert_eq!(ask("a.example.", RecordType::A), (ResponseCode::NoError, false, 1));
    for (name, rtype) in
        [("a.elsewhere.", RecordType::A), ("a.example.", RecordType::AXFR), ("a.example.", RecordType::TSIG)]
    {
        assert_eq!(ask(name, rtype), (ResponseCode::Refused, false, 0), "{name}");
    }
    let asked = running.upstream.asked.lock().unwrap();
    let others: Vec<_> = asked.iter().filter(|name| !name.starts_with("muster-loop-")).collect();
    assert_eq!(others, ["a.example."]);
}

#[test]
fn an_alias_that_leads_out_comes_with_its_targets_records() {
    let running = Forwarding::start("127.0.0.1:0");
    let mut message = query("Away.Shop.", RecordType::A);
    message.edns = Some(Edns::new());
    for _ in 0..2 {
        let answer = exchange(running.dns(), &message);
        let owners: Vec<_> =
            answer.answers.iter().map(|one| (one.name.to_ascii(), one.record_type())).collect();
        let expected = [("Away.Shop.", "CNAME"), ("chain.example.", "CNAME"), ("www.example.", "A")];
        assert_eq!(owners.len(), 3, "{answer}");
        for ((name, rtype), (expected, expected_type)) in owners.iter().zip(expected) {
            assert_eq!((name.as_str(), rtype.to_string().as_str()), (expected, expected_type));
        }
        assert_eq!((answer.metadata.id, answer.metadata.authoritative), (77, true));
        assert_eq!(name_of(&answer), "Away.Shop.");
        assert!(answer.edns.is_some());
    }
    assert_eq!(running.upstream.count("chain.example."), 1, "then from the cache");
    let mut stream = connect(running.dns());
    write_message(&mut stream, &message.to_vec().unwrap());
    assert_eq!(Message::from_vec(&read_message(&mut stream).unwrap()).unwrap().answers.len(), 3);
}

#[test]
fn an_alias_is_followed_only_when_the_query_wants_it() {
    let running = Forwarding::start("127.0.0.1:0");
    let ask = |message: &Message| {
        let answer = exchange(running.dns(), message);
        (answer.metadata.response_code, answer.answers.len(), answer.metadata.truncation)
    };
    assert_eq!(ask(&query("gone.shop.", RecordType::A)), (ResponseCode::NXDomain, 1, false));
    assert_eq!(
        ask(&query("big.shop.", RecordType::A)),
        (ResponseCode::NoError, 1, true),
        "what does not fit is cut"
    );
    for (name, rtype) in [("away.shop.", RecordType::CNAME), ("nowhere.shop.", RecordType::A)] {
        assert_eq!(ask(&query(name, rtype)), (ResponseCode::NoError, 1, false), "{name}");
    }
    let mut message = query("away.shop.", RecordType::A);
    message.metadata.recursion_desired = false;
    assert_eq!(ask(&message), (ResponseCode::NoError, 1, false));
    let asked = running.upstream.asked.lock().unwrap();
    let others: Vec<_> = asked.iter().filter(|name| !name.starts_with("muster-loop-")).collect();
    assert_eq!(others, ["gone.example.", "big.example."]);
}

#[test]
fn an_alias_in_what_others_said_is_passed_on_and_not_followed() {
    let running = Forwarding::with("127.0.0.1:0", ".", "");
    for _ in 0..2 {
        let answer = exchange(running.dns(), &query("lone.example.", RecordType::A));
        assert_eq!((answer.answers.len(), answer.authorities.len()), (1, 1));
        assert_eq!(answer.answers[0].record_type(), RecordType::CNAME);
    }
    assert_eq!((running.upstream.count("lone.example."), running.upstream.count("end.test.")), (1, 0));
}

#[test]
fn forwarded_answers_have_the_clients_cookie() {
    let running = Forwarding::start("127.0.0.1:0");
    let mut message = query("a.example.", RecordType::A);
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, vec![7; 8]));
    message.edns = Some(edns);
    // From the upstream, then from the cache.
    for _ in 0..2 {
        let answer = exchange(running.dns(), &message);
        assert_eq!(answer.answers.len(), 1);
        let option = answer.edns.as_ref().unwrap().option(EdnsCode::Cookie).unwrap();
        let cookie: Vec<u8> = option.try_into().unwrap();
        assert_eq!((cookie.len(), &cookie[..8]), (24, &[7; 8][..]), "both halves");
    }
    assert_eq!(running.upstream.count("a.example."), 1, "a cookie is between the client and us");
}

#[test]
fn forwarded_responses_are_limited_like_our_own() {
    let limits = "[access.responses]\nper_second = 1\nslip = 1\nexempt = []";
    let running = Forwarding::with("127.0.0.1:0", "example", limits);
    let socket = socket();
    let packet = query("a.example.", RecordType::A).to_vec().unwrap();
    let truncated = (0..50)
        .filter(|_| {
            socket.send_to(&packet, running.dns()).unwrap();
            receive(&socket, running.dns()).metadata.truncation
        })
        .count();
    assert!(truncated > 30, "{truncated} of 50 are told to come back over TCP");
    // Negative answers count as equal, and none of these is in the cache.
    let truncated = (0..50)
        .filter(|at| {
            let packet = query(&format!("gone{at}.example."), RecordType::A).to_vec().unwrap();
            socket.send_to(&packet, running.dns()).unwrap();
            receive(&socket, running.dns()).metadata.truncation
        })
        .count();
    assert!(truncated > 30, "{truncated} of 50 are told to come back over TCP");
}

#[test]
fn a_reload_changes_what_is_forwarded() {
    let running = Forwarding::start("127.0.0.1:0");
    let ask = |name: &str| exchange(running.dns(), &query(name, RecordType::A)).metadata.response_code;
    assert_eq!([ask("a.example."), ask("a.other.")], [ResponseCode::NoError, ResponseCode::Refused]);
    let server = running.server.server();
    let load = |forward: &str| {
        let text = format!("[listen]\ndns = [\"127.0.0.1:0\"]\n[forward]\n{forward}\n");
        let files =
            [(PathBuf::from("muster.toml"), text), (PathBuf::from("zones/zone.toml"), ZONE.to_owned())];
        config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false))).config
    };
    let other = load(&format!("other = \"{0}\"\ninvalid = \"{0}\"", running.upstream.address));
    let reloaded = running.server.runtime.block_on(server.apply(other)).unwrap();
    assert!(reloaded.notes.is_empty(), "{}", reloaded.text);
    assert_eq!([ask("a.example."), ask("a.other.")], [ResponseCode::Refused, ResponseCode::NoError]);
    assert_eq!(ask("a.invalid."), ResponseCode::NoError, "forwarded on purpose");

    let bad = load("other = { to = \"tls://127.0.0.1\", ca_file = \"/nowhere.pem\" }");
    let reloaded = running.server.runtime.block_on(server.apply(bad)).unwrap();
    assert!(
        reloaded.text.contains("/nowhere.pem") && reloaded.text.contains("rejected"),
        "{}",
        reloaded.text
    );
    assert_eq!(ask("b.other."), ResponseCode::NoError);
}

/// Queries from a loopback address.
fn ask_from(client: &str, running: &Forwarding, name: &str) -> Message {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query(name, RecordType::A).to_vec().unwrap(), running.dns()).unwrap();
    receive(&socket, running.dns())
}

#[test]
fn other_names_are_for_those_that_forward_names_only() {
    let access = "[access]\nallow = \"127.0.0.0/24\"\nforward = [\"127.0.0.1\", \"127.9.0.0/16\"]";
    let running = Forwarding::with("127.0.0.1:0", "example", access);
    let code = |client: &str, name: &str| ask_from(client, &running, name).metadata.response_code;
    assert_eq!(code("127.0.0.1", "a.example."), ResponseCode::NoError);
    // Neither a cached answer, nor a new one, nor the target of an alias.
    for client in ["127.0.0.5", "127.9.0.1"] {
        for name in ["a.example.", "b.example."] {
            assert_eq!(code(client, name), ResponseCode::Refused, "{client} {name}");
        }
    }
    assert_eq!(code("127.9.0.1", "web.shop."), ResponseCode::Refused, "in `forward`, but not in `allow`");
    let alias = ask_from("127.0.0.5", &running, "away.shop.");
    assert_eq!((alias.answers.len(), alias.metadata.recursion_available), (1, false));
    let whole = ask_from("127.0.0.1", &running, "away.shop.");
    assert_eq!((whole.answers.len(), whole.metadata.recursion_available), (3, true));
    assert_eq!(running.upstream.count("b.example."), 0);
    assert_eq!(running.upstream.count("chain.example."), 1);
}

#[test]
fn required_cookies_are_asked_for_before_anybody_else_is_asked() {
    let access = "[access.responses]\nexempt = []\n[access.cookies]\nrequired = true";
    let running = Forwarding::with("127.0.0.1:0", "example", access);
    let answer = ask_from("127.0.0.1", &running, "a.example.");
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    assert_eq!(running.upstream.count("a.example."), 0);
}

#[test]
fn the_root_suffix_covers_private_reverse_names_only() {
    let running = Forwarding::with("127.0.0.1:0", ".", "");
    let ask = |name: &str| ask_from("127.0.0.1", &running, name);
    assert_eq!(ask("app.localhost.").answers.len(), 1);
    assert!(ask("localhost.").metadata.recursion_available);
    assert_eq!(ask("a.invalid.").metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask("4.3.2.10.in-addr.arpa.").answers.len(), 1);
    let asked = running.upstream.asked.lock().unwrap();
    let others: Vec<_> = asked.iter().filter(|name| !name.starts_with("muster-loop-")).collect();
    assert_eq!(others, ["4.3.2.10.in-addr.arpa."]);
}

#[test]
fn a_cut_answer_of_an_upstream_is_servfail_over_tcp() {
    let forwarding = Forwarding::start("127.0.0.1:0");
    let packet = query("cut.example.", RecordType::A);
    assert!(exchange(forwarding.dns(), &packet).metadata.truncation);
    let answer = ask_tcp(&mut connect(forwarding.dns()), &packet);
    assert_eq!((answer.metadata.response_code, answer.metadata.truncation), (ResponseCode::ServFail, false));
}

#[test]
fn ds_of_an_apex_comes_from_the_parents_side() {
    let forwarding = Forwarding::with("127.0.0.1:0", ".", "");
    exchange(forwarding.dns(), &query("shop.", RecordType::DS));
    assert_eq!(forwarding.upstream.count("shop."), 1);
    let below = exchange(forwarding.dns(), &query("web.shop.", RecordType::DS));
    assert!(below.answers.is_empty() && below.metadata.authoritative);
    assert_eq!(forwarding.upstream.count("web.shop."), 0);
}
