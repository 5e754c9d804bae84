//! Which answers are stored, and for how long.

use super::*;
use crate::forward::testing::{answer, soa};

/// The TTL of the first record.
async fn first_ttl(bed: &Bed, packet: &[u8]) -> u32 {
    bed.message(packet).await.answers[0].ttl
}

#[tokio::test]
async fn ttls_count_down_until_the_upstream_is_queried_again() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::with(&[&fake], "", "prefetch = false");
    let packet = query("web.example.", A, None);
    assert_eq!(first_ttl(&bed, &packet).await, 60);
    pass(Duration::from_secs(40)).await;
    assert_eq!(first_ttl(&bed, &query("WEB.example.", A, None)).await, 20);
    assert_eq!(fake.count(), 1);
    pass(Duration::from_secs(20)).await;
    assert_eq!(first_ttl(&bed, &packet).await, 60);
    assert_eq!(fake.count(), 2);
}

#[tokio::test]
async fn do_and_cd_have_stored_answers_of_their_own() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::to(&[&fake]);
    let mut unchecked = query("web.example.", A, Some(true));
    unchecked[3] |= 0x10;
    let packets = [query("web.example.", A, None), query("web.example.", A, Some(true)), unchecked];
    for packet in packets.iter().chain(&packets) {
        bed.ask(packet).await.unwrap();
    }
    assert_eq!(fake.count(), 3);
    bed.ask(&query("web.example.", A, Some(false))).await.unwrap();
    assert_eq!(fake.count(), 3, "an OPT record alone changes no answer");
}

/// NXDOMAIN with a SOA record, as `packet` was queried.
fn nx_domain(packet: &[u8], qtype: u16) -> Vec<u8> {
    let mut answer = answer("gone.example.", qtype, 0x8183, &[], &[soa("example.", 60, 60)]);
    answer[..2].copy_from_slice(&packet[..2]);
    answer
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_queried_once_for_all_types() {
    const TXT: u16 = 16;
    let fake = Fake::start(|received| {
        let [.., high, low, _, _] = *received.question() else { panic!("no question") };
        vec![nx_domain(&received.query, u16::from_be_bytes([high, low]))]
    })
    .await;
    let bed = Bed::with(&[&fake], "", "prefetch = false");
    for qtype in [A, TXT, 28, A] {
        let packet = query("gone.example.", qtype, None);
        let answer = bed.ask(&packet).await.unwrap();
        assert_eq!((answer[3] & 0x0f, question(&answer)), (3, question(&packet)), "{qtype}");
    }
    assert_eq!(fake.count(), 1);
    bed.ask(&query("gone.example.", TXT, Some(true))).await.unwrap();
    assert_eq!(fake.count(), 2, "signatures change the answer");
    pass(Duration::from_secs(60)).await;
    bed.ask(&query("gone.example.", TXT, None)).await.unwrap();
    assert_eq!(fake.count(), 3, "its TTL has passed");
}

#[tokio::test]
async fn all_failures_are_stored_and_longer_each_time() {
    for flags in [0x8181, 0x8182, 0x8184, 0x8185] {
        let fake = Fake::start(move |received| vec![reply_to(&received.query, flags)]).await;
        let bed = Bed::to(&[&fake]);
        let packet = query("web.example.", A, None);
        let ask = async || assert_eq!(bed.ask(&packet).await.unwrap()[3], flags.to_be_bytes()[1]);
        let mut before = 0;
        for seconds in [2, 4, 8, 16, 30, 30] {
            ask().await;
            assert!(fake.count() > before, "{flags:x} after {seconds} s");
            before = fake.count();
            pass(Duration::from_secs(seconds - 1)).await;
            ask().await;
            assert_eq!(fake.count(), before, "{flags:x} within {seconds} s");
            pass(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn negative_answers_are_stored_for_the_ttl_of_the_soa() {
    for flags in [0x8180, 0x8183] {
        let fake = Fake::start(move |received| {
            let name =
                if received.question().starts_with(b"\x04with") { "with.example." } else { "less.example." };
            let authority = if name.starts_with("with") { vec![soa("example.", 900, 30)] } else { vec![] };
            let mut answer = answer(name, A, flags, &[], &authority);
            answer[..2].copy_from_slice(&received.query[..2]);
            vec![answer]
        })
        .await;
        let bed = Bed::with(&[&fake], "", "prefetch = false");
        let packet = query("with.example.", A, None);
        for _ in 0..2 {
            assert_eq!(bed.ask(&packet).await.unwrap()[3] & 0x0f, u8::try_from(flags & 0x0f).unwrap());
        }
        assert_eq!(fake.count(), 1);
        pass(Duration::from_secs(29)).await;
        bed.ask(&packet).await.unwrap();
        assert_eq!(fake.count(), 1);
        pass(Duration::from_secs(1)).await;
        bed.ask(&packet).await.unwrap();
        assert_eq!(fake.count(), 2);
        for _ in 0..2 {
            bed.ask(&query("less.example.", A, None)).await.unwrap();
        }
        assert_eq!(fake.count(), 4);
    }
}

#[tokio::test]
async fn ttl_limits_apply_and_ttl_zero_is_not_stored() {
    let cases = [(0, 2, None), (1000, 1, Some(100)), (3, 1, Some(3))];
    for (ttl, received, kept) in cases {
        let fake = Fake::with_ttl(ttl).await;
        let bed = Bed::with(&[&fake], "", "max_ttl = 100\nmin_ttl = 10");
        let packet = query("web.example.", A, None);
        assert_eq!(first_ttl(&bed, &packet).await, ttl);
        let second = first_ttl(&bed, &packet).await;
        assert_eq!((fake.count(), kept.unwrap_or(ttl)), (received, second));
        if ttl == 3 {
            pass(Duration::from_secs(9)).await;
            assert_eq!((first_ttl(&bed, &packet).await, fake.count()), (0, 1), "stored for \"min_ttl\"");
        }
    }
}

#[tokio::test]
async fn nothing_is_stored_without_a_cache() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::with(&[&fake], "", "size = 0");
    for _ in 0..2 {
        bed.ask(&query("web.example.", A, None)).await.unwrap();
    }
    assert_eq!(fake.count(), 2);
}

#[tokio::test]
async fn the_cache_is_bounded_and_keeps_entries_with_hits() {
    const SIZE: usize = 64 << 10;
    let fake = Fake::with_ttl(3600).await;
    let bed = Bed::with(&[&fake], "", &format!("size = {SIZE}"));
    let favorite = query("favorite.example.", A, None);
    for at in 0..1000 {
        bed.ask(&favorite).await.unwrap();
        bed.ask(&query(&format!("n{at}.example."), A, None)).await.unwrap();
    }
    let bytes = bed.metric("muster_cache_bytes ").unwrap();
    let entries = bed.metric("muster_cache_entries ").unwrap();
    let evicted = bed.metric("muster_cache_evictions_total ").unwrap();
    assert!(bytes <= 65_536.0 && bytes > 60_000.0, "{bytes}");
    assert!(entries > 100.0 && (entries + evicted - 1001.0).abs() < 0.5, "{entries} {evicted}");
    assert_eq!(fake.count(), 1001, "the favorite was fetched once");
}

#[tokio::test]
async fn stale_answers_are_given_while_upstreams_fail() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::with(&[&fake], "timeout = \"300ms\", tries = 2", "prefetch = false");
    let packet = query("web.example.", A, Some(false));
    bed.ask(&packet).await.unwrap();
    fake.stop();
    pass(Duration::from_secs(61)).await;
    for _ in 0..2 {
        let answer = bed.ask(&packet).await.unwrap();
        assert!(answer.ends_with(&[0, 0, 0, 6, 0, 15, 0, 2, 0, 3]), "extended error 3: {answer:02x?}");
        assert_eq!(Message::from_vec(&answer).unwrap().answers[0].ttl, 30);
    }
    assert_eq!(bed.metric("muster_forward_queries_total{result=\"stale\"}"), Some(1.0));
    assert_eq!(bed.metric("muster_cache_lookups_total{result=\"stale\"}"), Some(1.0), "the second at once");
    pass(Duration::from_secs(24 * 3600)).await;
    assert_eq!(bed.ask(&packet).await.unwrap()[3] & 0x0f, 2, "too old");
}

#[tokio::test]
async fn a_slow_upstream_does_not_delay_a_stale_answer() {
    let (is_slow, quick) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(0)));
    let (slow, count) = (Arc::clone(&is_slow), Arc::clone(&quick));
    let fake = Fake::start(move |received| {
        *count.lock().unwrap() += 1;
        if *slow.lock().unwrap() { Vec::new() } else { vec![answer_to(&received.query, 60)] }
    })
    .await;
    let bed = Bed::with(&[&fake], "timeout = \"30s\"", "prefetch = false");
    let packet = query("web.example.", A, None);
    bed.ask(&packet).await.unwrap();
    *is_slow.lock().unwrap() = true;
    pass(Duration::from_secs(61)).await;
    let answer = bed.message(&packet).await;
    assert_eq!(answer.answers[0].ttl, 30);
    assert_eq!(bed.metric("muster_forward_in_flight "), Some(1.0), "it is still in flight");
}

#[tokio::test]
async fn popular_answers_are_prefetched_before_they_expire() {
    let fake = Fake::with_ttl(100).await;
    let bed = Bed::to(&[&fake]);
    let (popular, other) = (query("popular.example.", A, None), query("other.example.", A, None));
    for _ in 0..4 {
        bed.ask(&popular).await.unwrap();
    }
    bed.ask(&other).await.unwrap();
    pass(Duration::from_secs(89)).await;
    bed.ask(&popular).await.unwrap();
    assert_eq!(fake.count(), 2, "not yet");
    pass(Duration::from_secs(2)).await;
    for packet in [&popular, &popular, &other] {
        assert_eq!(first_ttl(&bed, packet).await, 9);
    }
    until("it is prefetched", || fake.count() == 3).await;
    until("it is kept", || bed.metric("muster_forward_in_flight ") == Some(0.0)).await;
    assert_eq!(first_ttl(&bed, &popular).await, 100);
    assert_eq!((fake.count(), bed.metric("muster_cache_prefetches_total ")), (3, Some(1.0)));
}

#[tokio::test]
async fn a_failed_prefetch_is_not_repeated_at_once() {
    let fake = Fake::with_ttl(1000).await;
    let bed = Bed::with(&[&fake], "timeout = \"100ms\", tries = 1", "");
    let packet = query("web.example.", A, None);
    let query_often = async || {
        for _ in 0..10 {
            bed.ask(&packet).await.unwrap();
            until("nothing is in flight", || bed.metric("muster_forward_in_flight ") == Some(0.0)).await;
        }
        bed.metric("muster_cache_prefetches_total ").unwrap()
    };
    query_often().await;
    fake.stop();
    pass(Duration::from_secs(901)).await;
    let failed =
        format!("muster_forward_upstream_queries_total{{result=\"error\",upstream=\"{}\"}}", fake.address);
    bed.ask(&packet).await.unwrap();
    until("it is tried", || bed.metric(&failed).is_some_and(|count| count > 0.0)).await;
    assert_eq!(query_often().await, 1.0);
    pass(Duration::from_secs(31)).await;
    assert_eq!(query_often().await, 2.0);
}

#[tokio::test]
async fn a_smaller_cache_evicts_at_once() {
    let fake = Fake::with_ttl(3600).await;
    let bed = Bed::with(&[&fake], "", "size = \"1MiB\"");
    for at in 0..500 {
        bed.ask(&query(&format!("n{at}.example."), A, None)).await.unwrap();
    }
    let bytes = || bed.metric("muster_cache_bytes ").unwrap();
    assert!(bytes() > 65_536.0, "{}", bytes());
    let reload = |size: &str| {
        let to = format!("\".\" = {{ to = [\"{}\"], }}", fake.address);
        bed.forwarder.reload(&settings(&to, &format!("size = {size}"))).unwrap();
    };
    reload("65536");
    assert!(bytes() <= 65_536.0 && bytes() > 60_000.0, "{}", bytes());
    reload("0");
    assert_eq!((bytes(), bed.metric("muster_cache_entries ")), (0.0, Some(0.0)));
    bed.ask(&query("n499.example.", A, None)).await.unwrap();
    assert_eq!(fake.count(), 501);
}

#[tokio::test]
async fn failures_are_stored_for_a_moment_only() {
    let fake = Fake::start(|received| vec![reply_to(&received.query, 0x8182)]).await;
    let bed = Bed::to(&[&fake]);
    let packet = query("web.example.", A, None);
    for _ in 0..3 {
        assert_eq!(bed.ask(&packet).await.unwrap()[3] & 0x0f, 2);
    }
    assert_eq!(fake.count(), 1);
    pass(Duration::from_secs(2)).await;
    bed.ask(&packet).await.unwrap();
    assert_eq!(fake.count(), 2);
}
