//! Which parts of queries and answers pass through.

use super::*;
use crate::forward::testing::with_opt;

#[tokio::test]
async fn records_of_unknown_types_pass_byte_for_byte() {
    let data = [0xc0, 0x0c, 0xff, 0x00, 0x80];
    let fake = Fake::start(move |received| {
        let answer = with_record(reply_to(&received.query, 0x8180), 65_280, 0x7fff_0001, &data);
        vec![with_opt(&answer, 0, &[])]
    })
    .await;
    let bed = Bed::to(&[&fake]);
    let packet = query("Web.Example.", 65_280, None);
    let answer = bed.ask(&packet).await.unwrap();
    let expected = with_record(reply_to(&packet, 0x8180), 65_280, 0x7fff_0001, &data);
    assert_eq!(answer, expected, "a client without an OPT record gets none");
}

#[tokio::test]
async fn flags_and_options_pass_to_clients_that_want_them() {
    let fake = Fake::start(|received| {
        let answer = with_record(reply_to(&received.query, 0x85e0), A, 60, &[192, 0, 2, 1]);
        vec![with_opt(&answer, 0, &[0, 15, 0, 2, 0, 9, 0, 10, 0, 1, 7])]
    })
    .await;
    let bed = Bed::to(&[&fake]);
    let plain = bed.ask(&query("web.example.", A, None)).await.unwrap();
    assert_eq!(plain[2..4], [0x85, 0xc0], "AA and Z unchanged; no AD, since the client did not ask for it");
    let mut with_ad = query("ad.example.", A, None);
    with_ad[3] |= 0x20;
    assert_eq!(bed.ask(&with_ad).await.unwrap()[3], 0xe0);
    let with_do = bed.ask(&query("do.example.", A, Some(true))).await.unwrap();
    assert_eq!(with_do[3], 0xe0);
    let opt = [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 6, 0, 15, 0, 2, 0, 9];
    assert!(with_do.ends_with(&opt), "the extended error passes, the cookie does not: {with_do:02x?}");
    let again = bed.ask(&query("do.example.", A, Some(true))).await.unwrap();
    assert_eq!(again[2..4], [0x81, 0xe0], "a stored answer is not authoritative");
    assert!(again.ends_with(&opt));
}

#[tokio::test]
async fn the_upstream_query_is_our_own() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::to(&[&fake]);
    let mut packet = query("Web.Example.", A, Some(true));
    packet[3] |= 0x10;
    let answer = bed.ask(&packet).await.unwrap();
    assert_eq!(answer[..2], packet[..2]);
    assert_eq!(question(&answer), question(&packet), "the letter case of the query");
    assert_eq!(answer[3] & 0x10, 0x10, "CD");
    let received = fake.received.lock().unwrap()[0].clone();
    assert_eq!(received.query[2..4], [0x01, 0x30], "RD, AD and CD");
    assert_eq!(received.question(), b"\x03web\x07example\x00\x00\x01\x00\x01");
    assert!(received.query.ends_with(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]));
}

#[tokio::test]
async fn options_of_clients_stay_here_and_their_queries_share_one_answer() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::to(&[&fake]);
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let algorithms = [0, 5, 0, 2, 8, 13];
    for unknown in 0..5 {
        let unknown = [253, 233, 0, 1, unknown];
        let options = [&cookie[..], &subnet, &algorithms, &unknown].concat();
        let packet = with_opt(&query("web.example.", A, None), 0, &options);
        assert_eq!(bed.message(&packet).await.answers.len(), 1);
    }
    assert_eq!(fake.count(), 1);
    let received = fake.received.lock().unwrap()[0].clone();
    assert!(received.query.ends_with(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]));
}

#[tokio::test]
async fn answers_that_do_not_match_the_query_are_dropped() {
    let fake = Fake::start(|received| {
        let right = answer_to(&received.query, 60);
        let change = |at: usize, by: u8| {
            let mut wrong = right.clone();
            wrong[at] ^= by;
            *wrong.last_mut().unwrap() = 66;
            wrong
        };
        // ID, QR, OPCODE, QDCOUNT, name, type, letter case.
        let mut wrong: Vec<_> = [(0, 1), (1, 1), (2, 0x80), (2, 0x08), (5, 3), (14, 1), (26, 3)]
            .map(|(at, by)| change(at, by))
            .into();
        wrong.extend([vec![], right[..11].to_vec(), change(13, 0x20), right.clone()]);
        wrong
    })
    .await;
    let bed = Bed::with(&[&fake], "mixed_case = true", "");
    let answer = bed.message(&query("web.example.", A, None)).await;
    assert_eq!(answer.answers[0].data.to_string(), "192.0.2.1");
    let label =
        format!("muster_forward_upstream_queries_total{{result=\"mismatch\",upstream=\"{}\"}}", fake.address);
    assert_eq!(bed.metric(&label), Some(10.0));
}

#[tokio::test]
async fn mixed_case_randomizes_letters_and_ids() {
    let fake = Fake::with_ttl(0).await;
    let bed = Bed::with(&[&fake], "mixed_case = true", "");
    for _ in 0..4 {
        bed.ask(&query("a-long-name-in-lower-case.example.", A, None)).await.unwrap();
    }
    let received = fake.received.lock().unwrap();
    assert!(received.iter().any(|one| one.question().iter().any(u8::is_ascii_uppercase)));
    assert!(
        received.iter().any(|one| one.question() != received[0].question()),
        "a new letter case each time"
    );
    let ids: std::collections::BTreeSet<_> = received.iter().map(|one| one.query[..2].to_vec()).collect();
    assert!(ids.len() > 1, "a new ID each time");
}

#[tokio::test]
async fn truncated_answers_are_queried_again_over_tcp() {
    let fake = Fake::start(|received| {
        if !received.tcp {
            return vec![reply_to(&received.query, 0x8380)];
        }
        let whole = (0..100)
            .fold(reply_to(&received.query, 0x8180), |answer, at| with_record(answer, 65_280, 60, &[at; 40]));
        vec![with_opt(&whole, 0, &[])]
    })
    .await;
    let bed = Bed::to(&[&fake]);
    let packet = query("big.example.", 65_280, Some(false));
    let whole = bed.message(&packet).await;
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (100, false));
    assert_eq!(fake.received.lock().unwrap().iter().map(|one| one.tcp).collect::<Vec<_>>(), [false, true]);

    let cut = bed.ask_within(&packet, 1232).await.unwrap();
    let message = Message::from_vec(&cut).unwrap();
    assert!(message.metadata.truncation && cut.len() <= 1232, "{} bytes", cut.len());
    assert_eq!(message.answers.len(), (1232 - 11 - 29) / 52, "as many records as fit");
    assert_eq!(fake.count(), 2, "from the cache");
}

#[tokio::test]
async fn additional_records_are_left_out_first_without_tc() {
    let fake = Fake::start(|received| {
        let mut answer = answer_to(&received.query, 60);
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0x02, 0x00]);
        answer.extend([1; 512]);
        answer[11] += 1;
        vec![answer]
    })
    .await;
    let bed = Bed::to(&[&fake]);
    let packet = query("web.example.", A, None);
    assert_eq!(bed.message(&packet).await.additionals.len(), 1);
    let small = bed.ask_within(&packet, 512).await.unwrap();
    let message = Message::from_vec(&small).unwrap();
    assert_eq!(
        (message.answers.len(), message.additionals.len(), message.metadata.truncation),
        (1, 0, false)
    );
}

#[tokio::test]
async fn the_longest_suffix_wins_and_uncovered_names_are_refused() {
    let (inner, outer) = (Fake::with_ttl(0).await, Fake::with_ttl(0).await);
    let rules = format!("\"a.b\" = \"{}\"\nb = \"{}\"", inner.address, outer.address);
    let bed = Bed::new(&rules, "");
    for name in ["x.a.b.", "A.B.", "b.", "xa.b."] {
        assert!(bed.ask(&query(name, A, None)).await.is_some());
    }
    assert_eq!((inner.count(), outer.count()), (2, 2));
    assert!(bed.ask(&query("c.", A, None)).await.is_none());
}

#[tokio::test]
async fn without_recursion_desired_only_the_cache_answers() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::to(&[&fake]);
    let mut packet = query("web.example.", A, None);
    packet[2] &= !1;
    assert!(bed.ask(&packet).await.is_none());
    bed.ask(&query("web.example.", A, None)).await.unwrap();
    let answer = bed.ask(&packet).await.unwrap();
    assert_eq!((answer[2], answer[7]), (0x80, 1));
    assert_eq!(fake.count(), 1);
}

#[tokio::test]
async fn equal_queries_in_flight_are_coalesced() {
    let fake = Fake::silent().await;
    let bed = Bed::with(&[&fake], "tries = 1, timeout = \"30s\"", "");
    let mut answers = Vec::new();
    let packets = ["web.example.", "WEB.example."].map(|name| query(name, A, None));
    for packet in packets.iter().cycle().take(10) {
        let name = lower_name(packet);
        let (sender, receiver) = oneshot::channel();
        let reply = move |answer: &[u8], _| drop(sender.send(answer.to_vec()));
        bed.forwarder.forward(&read(packet, &name, 512), Requester::default(), Box::new(reply));
        answers.push(receiver);
    }
    until("nine wait for the first", || bed.metric("muster_forward_coalesced_total ") == Some(9.0)).await;
    assert_eq!(bed.metric("muster_forward_in_flight "), Some(1.0));
    until("it is queried", || fake.count() == 1).await;
    drop(answers);
}

#[tokio::test]
async fn coalesced_clients_get_their_own_id_and_letter_case() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::to(&[&fake]);
    let ask = |name: &'static str, id: u8| {
        let bed = &bed;
        async move {
            let mut packet = query(name, A, None);
            packet[1] = id;
            let answer = bed.ask(&packet).await.unwrap();
            assert_eq!((answer[1], question(&answer)), (id, question(&packet)));
        }
    };
    tokio::join!(ask("web.example.", 1), ask("WEB.example.", 2), ask("Web.Example.", 3));
    assert_eq!(fake.count(), 1);
}

/// Forged answers with the right ID and question, from another port and from another address.
#[tokio::test]
async fn answers_from_other_sockets_are_ignored() {
    let (port, address) = (
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        std::net::UdpSocket::bind("127.0.0.2:0").unwrap(),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut room = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut room).await.unwrap();
            let right = answer_to(&room[..length], 60);
            let mut forged = right.clone();
            *forged.last_mut().unwrap() = 66;
            for socket in [&port, &address] {
                let _ = socket.send_to(&forged, peer);
            }
            socket.send_to(&right, peer).await.unwrap();
        }
    });
    let bed = Bed::new(&format!("\".\" = \"{to}\""), "");
    let answer = bed.message(&query("web.example.", A, None)).await;
    assert_eq!(answer.answers[0].data.to_string(), "192.0.2.1");
    serving.abort();
}
