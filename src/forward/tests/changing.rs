//! Upstreams that change, by a reload or a file such as resolv.conf.

use std::io::Write as _;

use super::*;

#[tokio::test]
async fn name_servers_in_a_file_are_used_except_our_own_address() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "nameserver 127.0.0.1\nnameserver 192.0.2.7").unwrap();
    let path = file.path().display().to_string();
    let mut settings = settings(&format!("\".\" = [\"{path}\", \"192.0.2.9\"]"), "");
    settings.listen.dns = vec!["127.0.0.1:53".parse().unwrap()];
    let metrics = Arc::new(Metrics::new().unwrap());
    // The engine does not run, so no upstream is contacted.
    let (forwarder, _engine) = Forwarder::new(&settings, &metrics).unwrap();
    let rule = rule(&forwarder, b"\x00");
    let labels = || rule.upstreams().iter().map(|one| one.label().to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(), ["192.0.2.7:53", "192.0.2.9:53"]);
    let kept = Arc::clone(&rule.upstreams()[0]);
    let refresh =
        |text: Option<&str>| rule.refresh(&[text.map(str::to_owned)], &forwarder.shared.own, &metrics);
    refresh(Some("nameserver 192.0.2.8\nnameserver 192.0.2.7\n"));
    assert_eq!(labels(), ["192.0.2.8:53", "192.0.2.7:53", "192.0.2.9:53"]);
    assert!(Arc::ptr_eq(&kept, &rule.upstreams()[1]), "it keeps what it has learned");
    refresh(None);
    assert_eq!(labels().len(), 3, "a file that is missing for a moment");
    refresh(Some(""));
    assert_eq!(labels(), ["192.0.2.9:53"]);
}

#[tokio::test]
async fn a_file_that_changes_is_followed() {
    let (first, second) = (Fake::with_ttl(0).await, Fake::with_ttl(0).await);
    // resolv.conf has no ports, so it cannot name a fake upstream: it is enough that the name is
    // read.
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let bed =
        Bed::new(&format!("\".\" = [\"{path}\", \"{}\"]\nb = \"{}\"", first.address, second.address), "");
    bed.ask(&query("a.example.", A, None)).await.unwrap();
    let rule = bed.rule(b"\x00");
    assert_eq!(rule.upstreams().len(), 1);
    std::fs::write(file.path(), "nameserver 127.0.0.199\n").unwrap();
    until("the file is read again", || rule.upstreams().len() == 2).await;
    assert_eq!(rule.upstreams()[0].label(), "127.0.0.199:53");
}

#[tokio::test]
async fn the_cache_is_cleared_when_a_file_names_other_servers() {
    let fake = Fake::with_ttl(60).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let bed = Bed::new(&format!("\".\" = [\"{}\", \"{path}\"]", fake.address), "");
    let ask = async || bed.ask(&query("a.example.", A, None)).await.unwrap();
    ask().await;
    let rule = bed.rule(b"\x00");
    let refresh = |text: &str| rule.refresh(&[Some(text.to_owned())], &[], &bed.metrics);
    assert!(!refresh("search example\n"), "the same name servers");
    std::fs::write(file.path(), "nameserver 127.0.0.199\n").unwrap();
    until("all is forgotten", || bed.metric("muster_cache_entries ") == Some(0.0)).await;
    ask().await;
    assert_eq!(fake.count(), 2);
}

#[tokio::test]
async fn a_late_answer_of_a_removed_upstream_is_not_stored() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let new = Fake::with_ttl(0).await;
    let to = |address: SocketAddr| format!("\".\" = {{ to = \"{address}\", timeout = \"20s\", tries = 1 }}");
    let bed = Bed::new(&to(socket.local_addr().unwrap()), "");
    let packet = query("web.example.", A, None);
    let first = bed.message(&packet);
    let meanwhile = async {
        let mut room = [0; 512];
        // Our probe arrives at the same socket.
        let (received, peer) = loop {
            let (length, peer) = socket.recv_from(&mut room).await.unwrap();
            if room[12..length].starts_with(b"\x03web") {
                break (room[..length].to_vec(), peer);
            }
        };
        bed.forwarder.reload(&settings(&to(new.address), "")).unwrap();
        let in_flight = || bed.forwarder.shared.in_flight.len();
        // An answer with TTL 0 is not stored, so the late answer could be.
        bed.ask(&packet).await.unwrap();
        assert_eq!((new.count(), in_flight()), (1, 1));
        socket
            .send_to(&with_record(reply_to(&received, 0x8180), A, 60, &[192, 0, 2, 99]), peer)
            .await
            .unwrap();
        until("the late answer has arrived", || in_flight() == 0).await;
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert_eq!(first.answers.len(), 1, "the client that waits gets it");
    assert_eq!(bed.metric("muster_cache_entries "), Some(0.0));
    bed.ask(&packet).await.unwrap();
    assert_eq!(new.count(), 2);
}

#[tokio::test]
async fn a_query_does_not_wait_for_a_removed_upstream() {
    let (old, new) = (Fake::silent().await, Fake::with_ttl(60).await);
    let to = |fake: &Fake| format!("\".\" = {{ to = \"{}\", timeout = \"30s\" }}", fake.address);
    let bed = Bed::new(&to(&old), "");
    let packet = query("web.example.", A, None);
    let name = lower_name(&packet);
    bed.forwarder.forward(&read(&packet, &name, 512), Requester::default(), Box::new(|_, _| ()));
    until("it is queried", || old.count() > 0).await;
    bed.forwarder.reload(&settings(&to(&new), "")).unwrap();
    assert_eq!(bed.message(&packet).await.answers.len(), 1);
}

#[tokio::test]
async fn a_reload_replaces_changed_rules_and_keeps_the_others() {
    let (old, new, other) = (Fake::with_ttl(60).await, Fake::with_ttl(60).await, Fake::with_ttl(60).await);
    let rules = |to: &Fake| format!("a = \"{}\"\nb = \"{}\"", to.address, other.address);
    let bed = Bed::new(&rules(&old), "");
    for name in ["x.a.", "x.b."] {
        bed.ask(&query(name, A, None)).await.unwrap();
    }
    let kept = bed.rule(b"\x01b\x00");
    bed.forwarder.reload(&settings(&rules(&old), "prefetch = false")).unwrap();
    bed.ask(&query("x.a.", A, None)).await.unwrap();
    assert_eq!(old.count(), 1, "the cache stays if no upstream changes");
    bed.forwarder.reload(&settings(&rules(&new), "")).unwrap();
    bed.ask(&query("x.a.", A, None)).await.unwrap();
    assert_eq!((old.count(), new.count()), (1, 1));
    assert!(Arc::ptr_eq(&kept, &bed.rule(b"\x01b\x00")));

    let up =
        |fake: &Fake| bed.metric(&format!("muster_forward_upstream_up{{upstream=\"{}\"}}", fake.address));
    until("the old one has left the metrics", || up(&old).is_none()).await;
    assert_eq!((up(&new), up(&other)), (Some(1.0), Some(1.0)));

    let bad = settings("a = { to = \"tls://127.0.0.1\", ca_file = \"/nowhere.pem\" }", "");
    assert!(bed.forwarder.reload(&bad).is_err());
    bed.ask(&query("y.a.", A, None)).await.unwrap();
    assert_eq!(new.count(), 2, "a reload that fails changes nothing");
    bed.forwarder.reload(&settings("", "")).unwrap();
    assert!(!bed.forwarder.is_active());
    assert!(bed.ask(&query("y.a.", A, None)).await.is_none());
}
