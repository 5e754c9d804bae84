//! Answering allocates nothing, once every list has been asked for.
//!
//! `allocation-counter` replaces the allocator of the test program and counts by thread, so tests that run at the same
//! time do not disturb each other.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType, rdata::opt::EdnsOption},
};
use muster::model::{Instance, NamedPort, Protocol};
use rstest::rstest;
use testkit::bed::{Bed, instance, query, query_for};

#[rstest]
#[case::a("s1", RecordType::A)]
#[case::aaaa("s1", RecordType::AAAA)]
#[case::srv("s1", RecordType::SRV)]
#[case::split("split", RecordType::A)]
#[case::by_client("client", RecordType::A)]
#[case::any("s1", RecordType::ANY)]
#[case::instance("i1.s1", RecordType::A)]
#[case::nxdomain("nothing", RecordType::A)]
#[case::nxdomain_below_a_service("nothing.s1", RecordType::A)]
#[case::nodata("s1", RecordType::TXT)]
#[case::nodata_without_instances("nodata", RecordType::A)]
#[case::refused("bed", RecordType::AXFR)]
fn an_answer_allocates_nothing(
    #[case] below: &str,
    #[case] rtype: RecordType,
    #[values(false, true)] edns: bool,
) {
    let mut bed = Bed::default();
    let query = query(below, rtype, edns);
    for _ in 0..32 {
        bed.answer(&query);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..256 {
            bed.answer(&query);
        }
    });
    assert_eq!(counted.count_total, 0, "allocations in 256 answers: {counted:?}");
}

#[rstest]
fn an_answer_from_the_cache_allocates_nothing(#[values(false, true)] edns: bool) {
    let query = query_for("www.example.com.", RecordType::A, edns);
    let mut bed = Bed::default().with_cached(&[&query]);
    for _ in 0..32 {
        bed.answer(&query);
    }
    let info = allocation_counter::measure(|| {
        bed.answer(&query);
    });
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
}

/// Records that few ask for.
#[rstest]
#[case::txt("i1.web.more.test.", RecordType::TXT)]
#[case::domains("b._dns-sd._udp.more.test.", RecordType::PTR)]
#[case::kinds("_services._dns-sd._udp.more.test.", RecordType::PTR)]
#[case::browse("_http._tcp.more.test.", RecordType::PTR)]
#[case::browsed_srv("i1\\.web._http._tcp.more.test.", RecordType::SRV)]
#[case::browsed_txt("i1\\.web._http._tcp.more.test.", RecordType::TXT)]
#[case::ptr("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", RecordType::PTR)]
fn a_rare_answer_allocates_nothing(#[case] name: &str, #[case] rtype: RecordType) {
    let zone = "namespace = \"more.test\"\ntxt = true\ndns_sd = true\n[services.web]\nfrom = [{ consul = \"vms\", service = \"s\" }]\n";
    let mut bed = Bed::of("reverse = \"fd00::/8\"", zone.to_owned(), |at| Instance {
        named_ports: [NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 80 }].into(),
        labels: [("zone", "z1")].into_iter().collect(),
        ..instance(at)
    });
    let query = query_for(name, rtype, true);
    for _ in 0..32 {
        bed.answer(&query);
    }
    assert_ne!(bed.answer(&query).get(6..8), Some(&[0, 0][..]), "an answer");
    let counted = allocation_counter::measure(|| {
        for _ in 0..256 {
            bed.answer(&query);
        }
    });
    assert_eq!(counted.count_total, 0, "allocations in 256 answers: {counted:?}");
}

/// Names that are in no zone, and a query with a cookie.
#[rstest]
#[case::localhost("localhost.", RecordType::A)]
#[case::loopback("1.0.0.127.in-addr.arpa.", RecordType::PTR)]
#[case::private("4.3.2.10.in-addr.arpa.", RecordType::PTR)]
#[case::elsewhere("example.com.", RecordType::A)]
#[case::ours("s1.bed.test.", RecordType::A)]
fn an_answer_with_a_cookie_allocates_nothing(#[case] name: &str, #[case] rtype: RecordType) {
    let mut bed = Bed::default();
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), rtype));
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, vec![7; 24]));
    message.edns = Some(edns);
    let query = message.to_vec().expect("a message");
    bed.answer(&query);
    let counted = allocation_counter::measure(|| {
        for _ in 0..256 {
            bed.answer(&query);
        }
    });
    assert_eq!(counted.count_total, 0, "allocations in 256 answers: {counted:?}");
}

#[test]
fn the_allocations_of_this_thread_are_counted() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(counted.count_total, 1);
}
