//! Answering allocates nothing, once every list has been asked for.
//!
//! `allocation-counter` replaces this test's allocator and counts by thread, so that tests beside it do not disturb.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and has no outside"
)]

use hickory_proto::rr::RecordType;
use rstest::rstest;

#[path = "../benches/instructions/bed.rs"]
mod bed;

use bed::{Bed, query, query_for};

#[rstest]
#[case::a("s1", RecordType::A)]
#[case::aaaa("s1", RecordType::AAAA)]
#[case::srv("s1", RecordType::SRV)]
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
    let mut bed = Bed::new();
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
    let mut bed = Bed::new().with_cached(&[&query]);
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

#[test]
fn the_allocations_of_this_thread_are_counted() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(counted.count_total, 1);
}
