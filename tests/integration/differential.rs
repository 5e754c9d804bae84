//! Sends the server and an independent oracle the same queries; they must agree on every bit that
//! matters.
//!
//! The oracle (`differential/oracle.rs`) works on hickory-proto and plain lists, and shares nothing
//! with the answer path. A second authority, hickory-server, answers the same queries in
//! `differential/authority.rs`. `MUSTER_DIFFERENTIAL` sets the number of queries (`make
//! differential`: a million, in a release build), `MUSTER_DIFFERENTIAL_SEED` the seed. A failure
//! prints seed and number: earlier queries have rotated the lists.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hickory_proto::op::{Message, ResponseCode};
use muster::{
    catalog::SnapshotCell,
    dns::{Context, Responder, Response, Rotation},
    telemetry::{Metrics, Transport},
};
use testkit::namespaces::{self, Namespace, SERIAL};

use oracle::{Expected, Oracle};
use questions::{Asked, Questions};
use verdict::{Kind, compare};

mod authority;
mod oracle;
mod questions;
mod records;
mod service;
mod verdict;

const QUESTIONS: u64 = 30_000;
const SEED: u64 = 0x6d75_7374_6572;
const VERSION: &str = "muster under test";

/// The server, as a transport sees it.
struct Server {
    responder: Responder,
    rotation: Rotation,
    out: Vec<u8>,
}

impl Server {
    fn new(namespaces: &[Namespace]) -> Self {
        let cell = Arc::new(SnapshotCell::from_pointee(namespaces::catalog(namespaces).snapshot()));
        let metrics = Arc::new(Metrics::new().unwrap());
        Self {
            responder: Responder::new(cell, metrics, Some(VERSION.to_owned())),
            rotation: Rotation::default(),
            out: vec![0xaa; 70_000], // what an earlier answer left must not show
        }
    }

    fn ask(&mut self, packet: &[u8], udp: bool, asked: Option<IpAddr>) -> Option<&[u8]> {
        let transport = if udp { Transport::Udp } else { Transport::Tcp };
        let context = Context { transport, local_addr: asked, client: Ipv4Addr::LOCALHOST.into() };
        let response = self.responder.respond(packet, context, &mut self.rotation, &mut self.out);
        matches!(response, Response::Ready).then_some(&self.out[..])
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}")))
}

/// Sends `count` queries; returns how many of each kind of answer came.
fn run(namespaces: &[Namespace], seed: u64, count: u64) -> BTreeMap<Kind, u64> {
    let mut oracle = Oracle::new(namespaces, VERSION, SERIAL);
    let mut server = Server::new(namespaces);
    let mut questions = Questions::new(namespaces, seed);
    let mut kinds = BTreeMap::new();
    for number in 0..count {
        let Asked { packet, udp, asked } = questions.next();
        let expected = oracle.expect(&packet, udp, asked);
        let answer = server.ask(&packet, udp, asked);
        match compare(&packet, &expected, answer) {
            Ok(kind) => *kinds.entry(kind).or_default() += 1,
            Err(difference) => panic!(
                "seed {seed}, question {number}, {}, asked {asked:?}:\n{difference}\nquestion {}\n{:#?}\nanswer {}",
                if udp { "UDP" } else { "TCP" },
                hex(&packet),
                Message::from_vec(&packet),
                answer.map_or_else(|| "none".to_owned(), hex),
            ),
        }
    }
    kinds
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_server_answers_as_the_oracle_expects() {
    let (seed, count) =
        (setting("MUSTER_DIFFERENTIAL_SEED", SEED), setting("MUSTER_DIFFERENTIAL", QUESTIONS));
    let kinds = run(&namespaces::all(), seed, count);
    eprintln!("seed {seed}, {count} questions: {kinds:?}");
    // Queries that never reach a kind of answer would prove nothing.
    let errors = [1, 2, 3, 4, 5, 16].map(Kind::Error);
    let others =
        [Kind::Silence, Kind::Answer, Kind::NoData, Kind::Truncated, Kind::Shortened, Kind::WithAdditionals];
    for kind in errors.iter().chain(&others) {
        let share = kinds.get(kind).copied().unwrap_or_default() * 1000 / count.max(1);
        assert!(count < 10_000 || share >= 2, "{kind:?}: less than 2 in 1000: {kinds:?}");
    }
}

#[test]
fn no_answer_is_over_the_limit_however_long_the_names() {
    run(&namespaces::long(), SEED, 5_000);
}

#[test]
fn an_instance_with_too_many_addresses_sets_tc_as_configured() {
    run(&namespaces::sheaf(), SEED, 2_000);
}

#[test]
fn no_record_comes_twice_in_one_answer() {
    run(&namespaces::doubled(), SEED, 2_000);
}

/// A query for the address of `web.corp.example`: header, question, and the bytes `behind` it.
fn query(counts: [u8; 4], question: &[u8], behind: &[u8]) -> Vec<u8> {
    let [questions, answers, authority, additional] = counts;
    let header = [0x4d, 0x55, 1, 0, 0, questions, 0, answers, 0, authority, 0, additional];
    [&header[..], question, behind].concat()
}

const WEB: &[u8] = b"\x03web\x04corp\x07example\x00\x00\x01\x00\x01";

/// The error that the server answers a packet with; `None` for an answer without one. The oracle
/// must agree.
fn error_of(packet: &[u8]) -> Option<ResponseCode> {
    let namespaces = namespaces::all();
    let expected = Oracle::new(&namespaces, VERSION, SERIAL).expect(packet, true, None);
    let mut server = Server::new(&namespaces);
    let answer = server.ask(packet, true, None);
    compare(packet, &expected, answer).unwrap();
    match expected {
        Expected::Bare(code) => Some(code),
        Expected::Reply(_) => None,
        Expected::Silence => panic!("silence"),
    }
}

fn hickory_reads(packet: &[u8]) -> bool {
    Message::from_vec(packet).is_ok()
}

#[test]
fn stricter_than_hickory_a_question_name_is_never_compressed() {
    // Offset 4 is QDCOUNT's first byte, 0: the root.
    let packet = query([1, 0, 0, 0], b"\x03web\xc0\x04\x00\x01\x00\x01", &[]);
    assert!(hickory_reads(&packet));
    assert_eq!(error_of(&packet), Some(ResponseCode::FormErr));
}

#[test]
fn stricter_than_hickory_there_is_exactly_one_question() {
    for packet in [query([0, 0, 0, 0], &[], &[]), query([2, 0, 0, 0], &WEB.repeat(2), &[])] {
        assert!(hickory_reads(&packet));
        assert_eq!(error_of(&packet), Some(ResponseCode::FormErr));
    }
}

#[test]
fn laxer_than_hickory_what_is_inside_an_option_is_not_judged() {
    // A client subnet of family 9.
    let subnet = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 8, 0, 8, 0, 4, 0, 9, 24, 0];
    let packet = query([1, 0, 0, 1], WEB, &subnet);
    assert!(!hickory_reads(&packet));
    assert_eq!(error_of(&packet), None);
}

#[test]
fn laxer_than_hickory_other_opcodes_are_not_read_further() {
    let mut packet = query([1, 0, 0, 0], &[0xc0], &[]);
    packet[2] = 5 << 3;
    assert!(!hickory_reads(&packet));
    assert_eq!(error_of(&packet), Some(ResponseCode::NotImp));
}

#[test]
fn as_hickory_bytes_behind_the_last_record_do_not_matter() {
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    for packet in [query([1, 0, 0, 0], WEB, b"more"), query([1, 0, 0, 1], WEB, &[&opt[..], b"more"].concat())]
    {
        assert!(hickory_reads(&packet));
        assert_eq!(error_of(&packet), None);
    }
}

#[test]
fn as_hickory_records_that_cannot_be_read_spoil_the_request() {
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let in_answer_section = query([1, 1, 0, 0], WEB, &opt);
    let twice = query([1, 0, 0, 2], WEB, &opt.repeat(2));
    let missing = query([1, 0, 0, 1], WEB, &[]);
    for packet in [in_answer_section, twice, missing] {
        assert!(!hickory_reads(&packet));
        assert_eq!(error_of(&packet), Some(ResponseCode::FormErr));
    }
}
