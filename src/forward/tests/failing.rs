//! Upstreams that fail, are slow, or are in a forwarding loop.

use super::*;

/// An address that no socket listens on.
async fn dead() -> SocketAddr {
    let fake = Fake::silent().await;
    fake.stop();
    fake.address
}

#[tokio::test]
async fn the_next_upstream_is_queried_when_one_does_not_answer() {
    let unable = Fake::start(|received| vec![reply_to(&received.query, 0x8182)]).await;
    let refusing = Fake::start(|received| vec![reply_to(&received.query, 0x8185)]).await;
    let garbled =
        Fake::start(|received| vec![[answer_to(&received.query, 60), vec![0]].concat()[..20].to_vec()]).await;
    let silent = Fake::silent().await;
    for first in [dead().await, silent.address, unable.address, refusing.address, garbled.address] {
        let second = Fake::with_ttl(60).await;
        let bed = Bed::new(&format!("\".\" = [\"{first}\", \"{}\"]", second.address), "");
        let answer = bed.message(&query("web.example.", A, None)).await;
        assert_eq!(answer.answers.len(), 1, "{first}");
        assert_eq!(second.count(), 1, "{first}");
    }
}

#[tokio::test]
async fn a_failing_upstream_is_marked_down_and_up_by_a_probe() {
    let (first, second) = (Fake::silent().await, Fake::with_ttl(0).await);
    first.stop();
    let bed = Bed::with(&[&first, &second], "", "");
    let up = format!("muster_forward_upstream_up{{upstream=\"{}\"}}", first.address);
    for at in 0..4 {
        assert!(bed.ask(&query(&format!("n{at}.example."), A, None)).await.is_some());
    }
    until("it is marked down", || bed.metric(&up) == Some(0.0)).await;
    let socket = UdpSocket::bind(first.address).await.unwrap();
    let back = tokio::spawn(serve_udp(socket, Arc::new(|query: &[u8], _| vec![answer_to(query, 0)])));
    until("it is marked up", || bed.metric(&up) == Some(1.0)).await;
    let before = second.count();
    bed.ask(&query("again.example.", A, None)).await.unwrap();
    assert_eq!(second.count(), before, "the first is queried first again");
    back.abort();
}

#[tokio::test]
async fn a_silent_upstream_is_overtaken_and_marked_down() {
    // This one does not even answer probes.
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (first, second) = (mute.local_addr().unwrap(), Fake::with_ttl(0).await);
    let bed = Bed::new(&format!("\".\" = [\"{first}\", \"{}\"]", second.address), "");
    let up = format!("muster_forward_upstream_up{{upstream=\"{first}\"}}");
    for at in 0..3 {
        assert!(bed.ask(&query(&format!("n{at}.example."), A, None)).await.is_some());
    }
    until("it is marked down", || bed.metric(&up) == Some(0.0)).await;
}

#[tokio::test]
async fn a_query_given_up_counts_as_a_timeout() {
    let (silent, second) = (Fake::silent().await, Fake::with_ttl(0).await);
    let bed = Bed::with(&[&silent, &second], "", "");
    let metric = |fake: &Fake, result: &str| {
        let line = format!(
            "muster_forward_upstream_queries_total{{result=\"{result}\",upstream=\"{}\"}}",
            fake.address
        );
        bed.metric(&line)
    };
    until("both were probed", || [&silent, &second].iter().all(|fake| metric(fake, "answered") == Some(1.0)))
        .await;
    for at in 1..3 {
        bed.ask(&query(&format!("n{at}.example."), A, None)).await.unwrap();
        assert_eq!(metric(&silent, "timeout"), Some(f64::from(at)));
    }
    assert_eq!(metric(&second, "timeout"), Some(0.0));
}

/// Answers over UDP with TC; over TCP it accepts connections and never answers.
async fn with_dead_tcp() -> (SocketAddr, TcpListener, AbortHandle) {
    let (socket, listener) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            break (socket, listener);
        }
    };
    let address = socket.local_addr().unwrap();
    let handle =
        Arc::new(|query: &[u8], _| vec![with_record(reply_to(query, 0x8380), A, 60, &[192, 0, 2, 9])]);
    (address, listener, tokio::spawn(serve_udp(socket, handle)).abort_handle())
}

#[tokio::test]
async fn a_truncated_answer_is_used_if_there_is_no_whole_one() {
    let (address, _listener, serving) = with_dead_tcp().await;
    let whole = Fake::start(|received| {
        let flags = if received.tcp { 0x8180 } else { 0x8380 };
        vec![with_record(reply_to(&received.query, flags), A, 60, &[192, 0, 2, 1])]
    })
    .await;
    let bed = Bed::new(&format!("\".\" = {{ to = \"{address}\", timeout = \"600ms\" }}"), "");
    let answer = bed.message(&query("web.example.", A, None)).await;
    assert!(answer.metadata.truncation);
    assert_eq!((answer.metadata.response_code.low(), answer.answers.len()), (0, 1));

    let to = [address, whole.address].map(|address| address.to_string());
    let bed = Bed::new(&format!("\".\" = {to:?}"), "");
    let answer = bed.message(&query("web.example.", A, None)).await;
    assert!(!answer.metadata.truncation && answer.answers.len() == 1);
    serving.abort();
}

#[tokio::test]
async fn without_any_answer_it_is_servfail_within_the_timeout() {
    let silent = Fake::silent().await;
    let bed = Bed::with(&[&silent], "timeout = \"200ms\"", "");
    let answer = bed.ask(&query("web.example.", A, Some(false))).await.unwrap();
    assert_eq!((answer[3] & 0x0f, question(&answer)), (2, question(&query("web.example.", A, None))));
    assert_eq!(bed.metric("muster_forward_queries_total{result=\"failed\"}"), Some(1.0));
}

#[tokio::test]
async fn one_upstream_gets_one_question_as_often_as_configured_but_three_times_at_most() {
    for (tries, count) in [(2, 2), (20, 3)] {
        let silent = Fake::silent().await;
        let bed = Bed::with(&[&silent], &format!("timeout = \"3s\", tries = {tries}"), "");
        bed.ask(&query("web.example.", A, None)).await.unwrap();
        assert_eq!(silent.count(), count, "{tries} tries");
    }
}

#[tokio::test]
async fn names_without_an_answer_do_not_mark_an_upstream_down() {
    let is_good = |query: &[u8]| query[13..17].eq_ignore_ascii_case(b"good");
    let fake = Fake::start(move |received| match is_good(&received.query) {
        true => vec![answer_to(&received.query, 0)],
        false => Vec::new(),
    })
    .await;
    let bed = Bed::with(&[&fake], "timeout = \"1500ms\"", "");
    let up = format!("muster_forward_upstream_up{{upstream=\"{}\"}}", fake.address);
    // One question counts once, however often it is sent.
    assert_eq!(bed.ask(&query("dead.example.", A, None)).await.unwrap()[3] & 0x0f, 2);
    assert_eq!(bed.metric(&up), Some(1.0));
    // Those that wait while others are answered do not count.
    let dead: Vec<_> = (0..5).map(|at| query(&format!("dead{at}.example."), A, None)).collect();
    let unanswered =
        async { futures_util::future::join_all(dead.iter().map(|packet| bed.ask(packet))).await };
    let answered = async {
        until("they are sent", || fake.count() >= 6).await;
        bed.ask(&query("good.example.", A, None)).await
    };
    let (unanswered, answered) = tokio::join!(unanswered, answered);
    assert!(answered.is_some() && unanswered.iter().all(Option::is_some));
    assert_eq!(bed.metric(&up), Some(1.0));
}

/// Answers each query with one A record, once `other` has received it too, and a moment later.
async fn slower_than(other: &Fake) -> (SocketAddr, AbortHandle) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let received = Arc::clone(&other.received);
    let serving = tokio::spawn(async move {
        let mut room = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut room).await.unwrap();
            let is_probe = room[..length].windows(12).any(|part| part.eq_ignore_ascii_case(b"muster-loop-"));
            while !is_probe && received.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            socket.send_to(&answer_to(&room[..length], 60), peer).await.unwrap();
        }
    });
    (address, serving.abort_handle())
}

#[tokio::test]
async fn a_negative_answer_waits_for_the_preferred_upstream() {
    let second = Fake::start(|received| vec![reply_to(&received.query, 0x8183)]).await;
    for (policy, answers) in [("sequential", 1), ("round_robin", 0)] {
        second.received.lock().unwrap().clear();
        let (first, serving) = slower_than(&second).await;
        let to = format!("\".\" = {{ to = [\"{first}\", \"{}\"], policy = \"{policy}\" }}", second.address);
        let bed = Bed::new(&to, "");
        let answer = bed.message(&query("internal.example.", A, None)).await;
        assert_eq!(answer.answers.len(), answers, "{policy}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_negative_answer_counts_once_the_preferred_upstream_has_failed() {
    let second = Fake::start(|received| vec![reply_to(&received.query, 0x8183)]).await;
    let bed = Bed::new(&format!("\".\" = [\"{}\", \"{}\"]", dead().await, second.address), "");
    let answer = bed.ask(&query("web.example.", A, None)).await.unwrap();
    assert_eq!(answer[3] & 0x0f, 3);
}

#[tokio::test]
async fn round_robin_queries_each_in_turn() {
    let (first, second) = (Fake::with_ttl(0).await, Fake::with_ttl(0).await);
    let bed = Bed::with(&[&first, &second], "policy = \"round_robin\"", "");
    for _ in 0..10 {
        bed.ask(&query("web.example.", A, None)).await.unwrap();
    }
    assert_eq!((first.count(), second.count()), (5, 5));
}

#[tokio::test]
async fn fastest_orders_by_time_and_tries_others_at_times() {
    let settings =
        settings("\".\" = { to = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\"], policy = \"fastest\" }", "");
    let rules =
        RuleTable::new(&settings.forward, &RuleTable::default(), &[], &Metrics::new().unwrap()).unwrap();
    let rule = rules.find(WireName::trusted(b"\x00")).unwrap();
    let upstreams = rule.upstreams();
    for (upstream, millis) in upstreams.iter().zip([30, 10, 20]) {
        upstream.health.answered(Duration::from_millis(millis));
    }
    let order = || rule.order().iter().map(|one| one.label().to_owned()).collect::<Vec<_>>();
    assert_eq!(order(), ["192.0.2.2:53", "192.0.2.3:53", "192.0.2.1:53"]);
    for _ in 0..3 {
        upstreams[1].health.missed();
    }
    assert_eq!(order(), ["192.0.2.3:53", "192.0.2.1:53", "192.0.2.2:53"], "marked down");
    let firsts: std::collections::BTreeSet<_> = (0..300).map(|_| order().swap_remove(0)).collect();
    assert_eq!(firsts.len(), 2, "others are tried at times: {firsts:?}");
}

#[tokio::test]
async fn a_full_queue_means_servfail_at_once() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (forwarder, _engine) = Forwarder::new(&settings("\".\" = \"192.0.2.1\"", ""), &metrics).unwrap();
    let packet = query("web.example.", A, None);
    let name = lower_name(&packet);
    let failures = Arc::new(Mutex::new(0));
    for _ in 0..QUEUE + 2 {
        let failures = Arc::clone(&failures);
        let reply = move |answer: &[u8], _| *failures.lock().unwrap() += usize::from(answer[3] & 0x0f == 2);
        forwarder.forward(&read(&packet, &name, 512), Requester::default(), Box::new(reply));
    }
    assert_eq!(*failures.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_client_whose_names_nobody_answers_leaves_room_for_others() {
    let is_good = |query: &[u8]| query[13..17].eq_ignore_ascii_case(b"good");
    let fake = Fake::start(move |received| match is_good(&received.query) {
        true => vec![answer_to(&received.query, 60)],
        false => Vec::new(),
    })
    .await;
    let bed = Bed::with(&[&fake], "timeout = \"30s\"", "");
    let hostile = Requester::of([10, 0, 0, 66].into());
    let dropped = || bed.metric("muster_forward_queries_total{result=\"dropped\"}").unwrap_or(0.0);
    // As many as all clients together may have in flight.
    for at in 0..4096_usize {
        let packet = query(&format!("dead{at}.example."), A, None);
        let name = lower_name(&packet);
        bed.forwarder.forward(&read(&packet, &name, 512), hostile, Box::new(|_, _| ()));
        let counted = || bed.forwarder.shared.in_flight.len() + dropped() as usize > at;
        until("it is in flight or dropped", counted).await;
    }
    for at in 0..20 {
        let answer = bed.message(&query(&format!("good{at}.example."), A, None)).await;
        assert_eq!(answer.answers.len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn an_upstream_in_a_forwarding_loop_is_disabled() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let good = Fake::with_ttl(0).await;
    let upstreams = [socket.local_addr().unwrap(), good.address];
    let bed = Bed::new(&format!("\".\" = {:?}", upstreams.map(|one| one.to_string())), "");
    // A relay that forwards to us.
    let (forwarder, count) = (Arc::clone(&bed.forwarder), Arc::new(Mutex::new(0)));
    let seen = Arc::clone(&count);
    let relay = tokio::spawn(async move {
        let socket = Arc::new(socket);
        let mut room = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut room).await.unwrap();
            *seen.lock().unwrap() += 1;
            let (packet, socket) = (room[..length].to_vec(), Arc::clone(&socket));
            let name = lower_name(&packet);
            let reply = move |answer: &[u8], _| drop(socket.try_send_to(answer, peer));
            forwarder.forward(&read(&packet, &name, 512), Requester::default(), Box::new(reply));
        }
    });
    until("the loop is found", || {
        bed.metric("muster_forward_queries_total{result=\"loop\"}").is_some_and(|count| count > 0.0)
    })
    .await;
    let before = *count.lock().unwrap();
    for at in 0..10 {
        let answer = bed.message(&query(&format!("n{at}.example."), A, None)).await;
        assert_eq!(answer.answers.len(), 1);
    }
    assert_eq!((*count.lock().unwrap(), good.count()), (before, 10));
    relay.abort();
    let upstream = &bed.forwarder.shared.rules.load().all().next().unwrap().upstreams()[0];
    let is_up = || bed.metric(&format!("muster_forward_upstream_up{{upstream=\"{}\"}}", upstream.label()));
    assert_eq!((upstream.is_loop(), is_up()), (true, Some(0.0)));
    // A probe that nothing sends back.
    assert!(upstream.begin_probe());
    assert!(upstream.is_loop(), "until the probe has ended");
    upstream.end_probe();
    assert_eq!((upstream.is_loop(), is_up()), (false, Some(1.0)));
}

#[tokio::test]
async fn a_query_that_comes_back_waits_for_itself() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = socket.local_addr().unwrap();
    let bed = Bed::new(&format!("\".\" = {{ to = \"{to}\", timeout = \"1s\", tries = 2 }}"), "");
    let (forwarder, count) = (Arc::clone(&bed.forwarder), Arc::new(Mutex::new(0)));
    let seen = Arc::clone(&count);
    let relay = tokio::spawn(async move {
        let mut room = [0; 512];
        loop {
            let (length, _) = socket.recv_from(&mut room).await.unwrap();
            let packet = room[..length].to_vec();
            let name = lower_name(&packet);
            // Probes are dropped, so that the loop is not found.
            if !name.starts_with(b"\x1emuster") && !name.get(1..).unwrap().starts_with(b"muster-loop") {
                *seen.lock().unwrap() += 1;
                forwarder.forward(&read(&packet, &name, 512), Requester::default(), Box::new(|_, _| ()));
            }
        }
    });
    let answer = bed.ask(&query("web.example.", A, None)).await.unwrap();
    assert_eq!(answer[3] & 0x0f, 2);
    assert_eq!(*count.lock().unwrap(), 2, "one query for each try");
    relay.abort();
}

#[tokio::test]
async fn a_rejected_query_gets_a_stale_answer_if_there_is_one() {
    let fake = Fake::with_ttl(60).await;
    let bed = Bed::to(&[&fake]);
    let packet = query("web.example.", A, None);
    bed.ask(&packet).await.unwrap();
    pass(Duration::from_secs(61)).await;
    let name = lower_name(&packet);
    let codes: Arc<Mutex<Vec<u8>>> = Arc::default();
    for (packet, name) in
        [(&packet, &name), (&query("not.example.", A, None), &b"\x03not\x07example\x00".to_vec())]
    {
        let (ask, codes) = (read(packet, name, 512), Arc::clone(&codes));
        let reply: AnswerCallback =
            Box::new(move |answer: &[u8], _| codes.lock().unwrap().push(answer[3] & 0x0f));
        let client = Some(WaitingClient::new(&ask, Requester::default(), reply));
        Job { query: UpstreamQuery::new(ask.key()), client }.reject(&bed.forwarder.shared);
    }
    assert_eq!(*codes.lock().unwrap(), [0, 2]);
    let count = |result| bed.metric(&format!("muster_forward_queries_total{{result=\"{result}\"}}"));
    assert_eq!((count("stale"), count("dropped")), (Some(1.0), Some(1.0)));
}

#[tokio::test]
async fn a_server_without_edns_is_queried_again_without_opt() {
    for bare in [false, true] {
        let fake = Fake::start(move |received| {
            let has_opt = received.query[11] == 1;
            let error = reply_to(&received.query, 0x8181);
            vec![match (has_opt, bare) {
                (false, _) => answer_to(&received.query, 60),
                (true, false) => error,
                (true, true) => [&error[..4], &[0; 8]].concat(),
            }]
        })
        .await;
        let bed = Bed::to(&[&fake]);
        assert_eq!(bed.message(&query("web.example.", A, Some(true))).await.answers.len(), 1, "{bare}");
        assert_eq!(fake.count(), 2);
    }
}

#[tokio::test]
async fn a_fetch_that_is_aborted_leaves_no_client_waiting() {
    let silent = Fake::silent().await;
    let bed = Bed::with(&[&silent], "timeout = \"30s\"", "");
    let packet = query("web.example.", A, None);
    let name = lower_name(&packet);
    let query = UpstreamQuery::new(read(&packet, &name, 512).key());
    let (sender, receiver) = oneshot::channel::<()>();
    let reply: AnswerCallback = Box::new(move |_: &[u8], _| drop(sender));
    let client = Some(WaitingClient::new(&read(&packet, &name, 512), Requester::default(), reply));
    let shared = &bed.forwarder.shared;
    let started = admit(shared, Job { query: query.clone(), client }).unwrap();
    assert_eq!(started.fetch.query, query);
    let running = tokio::spawn(fetch(Arc::clone(shared), started));
    until("it is queried", || silent.count() > 0).await;
    running.abort();
    assert!(timeout(PATIENCE, receiver).await.expect("in time").is_err(), "the waiting client is dropped");
    assert_eq!(shared.in_flight.len(), 0);
}
