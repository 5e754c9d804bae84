//! Answering allocates nothing, once a worker has seen every list.
//!
//! `allocation-counter` replaces the allocator of the test program and counts by thread, so tests
//! that run at the same time do not disturb each other. A wildcard socket's loop is counted where
//! it is: in `src/dns/udp`.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType, rdata::opt::EdnsOption},
};
use muster::model::{Instance, NamedPort, Protocol};
use rstest::rstest;
use testkit::bed::{Bed, instance, query, query_for};

/// Asks until every list has been turned once, then asserts that 256 more queries allocate nothing.
fn assert_no_allocation(bed: &mut Bed, query: &[u8]) {
    for _ in 0..32 {
        bed.reply(query);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..256 {
            bed.reply(query);
        }
    });
    assert_eq!(counted.count_total, 0, "allocations in 256 answers: {counted:?}");
}

/// The response code and the number of records in the answer section.
fn code_and_answers(bed: &mut Bed, query: &[u8]) -> (u8, u8) {
    let answer = bed.answer(query);
    (answer[3] & 0x0f, answer[7])
}

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
    assert_no_allocation(&mut Bed::of_size(2), &query(below, rtype, edns));
}

#[rstest]
#[case::addresses(RecordType::A, 11)]
#[case::v6_addresses(RecordType::AAAA, 11)]
#[case::cname(RecordType::CNAME, 1)]
#[case::any(RecordType::ANY, 1)]
fn an_alias_in_our_namespaces_allocates_nothing(
    #[case] rtype: RecordType,
    #[case] answers: u8,
    #[values(false, true)] edns: bool,
) {
    let mut bed = Bed::of_size(2);
    let query = query_for("alias.front.test.", rtype, edns);
    assert_eq!(code_and_answers(&mut bed, &query), (0, answers));
    assert_no_allocation(&mut bed, &query);
}

#[rstest]
fn an_alias_that_leads_out_allocates_nothing(#[values(false, true)] edns: bool) {
    let mut bed = Bed::of_size(2);
    let query = query("away", RecordType::A, edns);
    assert_eq!(code_and_answers(&mut bed, &query), (0, 1));
    assert_no_allocation(&mut bed, &query);
}

#[rstest]
fn an_answer_from_the_cache_allocates_nothing(#[values(false, true)] edns: bool) {
    let query = query_for("www.example.com.", RecordType::A, edns);
    let mut bed = Bed::of_size(2).with_cached(&[&query]);
    assert_eq!(code_and_answers(&mut bed, &query), (0, 10));
    assert_no_allocation(&mut bed, &query);
}

/// Records that few clients ask for.
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
    let mut bed = Bed::with("reverse = \"fd00::/8\"", zone.to_owned(), |at| Instance {
        named_ports: [NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 80 }].into(),
        labels: [("zone", "z1")].into_iter().collect(),
        ..instance(at)
    });
    let query = query_for(name, rtype, true);
    assert_ne!(code_and_answers(&mut bed, &query).1, 0, "an answer");
    assert_no_allocation(&mut bed, &query);
}

fn with_cookie(name: &str, rtype: RecordType, cookie: Vec<u8>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), rtype));
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
    message.edns = Some(edns);
    message.to_vec().expect("a message")
}

/// Names in none of the namespaces, and one that is, queried with a cookie.
#[rstest]
#[case::localhost("localhost.", RecordType::A)]
#[case::loopback("1.0.0.127.in-addr.arpa.", RecordType::PTR)]
#[case::private("4.3.2.10.in-addr.arpa.", RecordType::PTR)]
#[case::external("example.com.", RecordType::A)]
#[case::ours("s1.bed.test.", RecordType::A)]
fn an_answer_with_a_cookie_allocates_nothing(#[case] name: &str, #[case] rtype: RecordType) {
    assert_no_allocation(&mut Bed::of_size(2), &with_cookie(name, rtype, vec![7; 24]));
}

const REFUSED: Option<u8> = Some(5);
const NOERROR: Option<u8> = Some(0);
/// BADCOOKIE is 23: this is what the header has of it.
const BADCOOKIE: Option<u8> = Some(23 & 0x0f);

/// Clients that may not ask, or that ask too much; what the first query gets, `None` for silence.
#[rstest]
#[case::not_allowed("[access]\nallow = \"10.0.0.0/8\"", REFUSED)]
#[case::denied("[access]\ndeny = \"127.0.0.1\"", None)]
#[case::rate_limited("[access.responses]\nper_second = 1\nslip = 2\nexempt = []", NOERROR)]
#[case::without_cookie("[access.responses]\nexempt = []\n[access.cookies]\nrequired = true", BADCOOKIE)]
fn a_refusal_allocates_nothing(#[case] server: &str, #[case] code: Option<u8>) {
    let mut bed = Bed::guarded(server);
    let query = with_cookie("s1.bed.test.", RecordType::A, vec![7; 8]);
    assert_eq!(bed.reply(&query).map(|reply| reply[3] & 0x0f), code);
    assert_no_allocation(&mut bed, &query);
}

#[test]
fn allocations_of_this_thread_are_counted() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(counted.count_total, 1);
}
