//! Upstreams that become others, by a reload or a file such as resolv.conf.

use std::io::Write as _;

use super::*;

#[tokio::test]
async fn the_name_servers_of_a_file_are_followed_but_not_our_own_address() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "nameserver 127.0.0.1\nnameserver 192.0.2.7").unwrap();
    let path = file.path().display().to_string();
    let mut settings = settings(&format!("\".\" = [\"{path}\", \"192.0.2.9\"]"), "");
    settings.listen.dns = vec!["127.0.0.1:53".parse().unwrap()];
    let metrics = Arc::new(Metrics::new().unwrap());
    // No upstream is contacted: nothing runs.
    let (forwarder, _engine) = Forwarder::new(&settings, &metrics).unwrap();
    let rule = Arc::clone(forwarder.shared.rules.load().find(b"\x00").unwrap());
    let labels = || rule.upstreams().iter().map(|one| one.label().to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(), ["192.0.2.7:53", "192.0.2.9:53"]);
    let kept = Arc::clone(&rule.upstreams()[0]);
    let refresh =
        |text: Option<&str>| rule.refresh(&[text.map(str::to_owned)], &forwarder.shared.own, &metrics);
    refresh(Some("nameserver 192.0.2.8\nnameserver 192.0.2.7\n"));
    assert_eq!(labels(), ["192.0.2.8:53", "192.0.2.7:53", "192.0.2.9:53"]);
    assert!(Arc::ptr_eq(&kept, &rule.upstreams()[1]), "what it has learnt stays");
    refresh(None);
    assert_eq!(labels().len(), 3, "a file that is not there for a moment");
    refresh(Some(""));
    assert_eq!(labels(), ["192.0.2.9:53"]);
}

#[tokio::test]
async fn a_file_that_changes_is_followed() {
    let (first, second) = (Fake::with_ttl(0).await, Fake::with_ttl(0).await);
    // resolv.conf knows no ports, so a name server that answers cannot be in it: it is enough that it is taken.
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let bed =
        Bed::new(&format!("\".\" = [\"{path}\", \"{}\"]\nb = \"{}\"", first.address, second.address), "");
    bed.ask(&query("a.example.", A, None)).await.unwrap();
    let rule = Arc::clone(bed.forwarder.shared.rules.load().find(b"\x00").unwrap());
    assert_eq!(rule.upstreams().len(), 1);
    std::fs::write(file.path(), "nameserver 127.0.0.199\n").unwrap();
    until("the file is read again", || rule.upstreams().len() == 2).await;
    assert_eq!(rule.upstreams()[0].label(), "127.0.0.199:53");
}

#[tokio::test]
async fn what_is_kept_is_forgotten_when_a_file_names_others() {
    let fake = Fake::with_ttl(60).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let bed = Bed::new(&format!("\".\" = [\"{}\", \"{path}\"]", fake.address), "");
    let ask = async || bed.ask(&query("a.example.", A, None)).await.unwrap();
    ask().await;
    let rule = Arc::clone(bed.forwarder.shared.rules.load().find(b"\x00").unwrap());
    let refresh = |text: &str| rule.refresh(&[Some(text.to_owned())], &[], &bed.metrics);
    assert!(!refresh("search example\n"), "the same name servers");
    std::fs::write(file.path(), "nameserver 127.0.0.199\n").unwrap();
    until("all is forgotten", || bed.metric("muster_cache_entries ") == Some(0.0)).await;
    ask().await;
    assert_eq!(fake.count(), 2);
}

#[tokio::test]
async fn what_a_former_upstream_says_late_is_neither_waited_for_nor_kept() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let new = Fake::with_ttl(60).await;
    let to = |address: SocketAddr| format!("\".\" = {{ to = \"{address}\", timeout = \"20s\", tries = 1 }}");
    let bed = Bed::new(&to(socket.local_addr().unwrap()), "");
    let packet = query("web.example.", A, None);
    let first = bed.message(&packet);
    let meanwhile = async {
        let mut room = [0; 512];
        // Our probe comes by the same way.
        let (asked, peer) = loop {
            let (length, peer) = socket.recv_from(&mut room).await.unwrap();
            if room[12..length].starts_with(b"\x03web") {
                break (room[..length].to_vec(), peer);
            }
        };
        bed.forwarder.reload(&settings(&to(new.address), "")).unwrap();
        let in_flight = || bed.forwarder.shared.in_flight.len();
        // With options nothing is kept, so the late answer has nothing in its way.
        let mut other = query("web.example.", A, Some(false));
        *other.last_mut().unwrap() = 4;
        other.extend([0xfd, 0xe9, 0, 0]);
        bed.ask(&other).await.unwrap();
        assert_eq!((new.count(), in_flight()), (1, 1));
        socket.send_to(&with_record(reply_to(&asked, 0x8180), A, 60, &[192, 0, 2, 99]), peer).await.unwrap();
        until("the late answer is there", || in_flight() == 0).await;
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert_eq!(first.answers.len(), 1, "whoever waits for it gets it");
    assert_eq!(bed.metric("muster_cache_entries "), Some(0.0));
    bed.ask(&packet).await.unwrap();
    assert_eq!(new.count(), 2);
}

#[tokio::test]
async fn a_question_does_not_wait_for_one_to_a_former_upstream() {
    let (old, new) = (Fake::silent().await, Fake::with_ttl(60).await);
    let to = |fake: &Fake| format!("\".\" = {{ to = \"{}\", timeout = \"30s\" }}", fake.address);
    let bed = Bed::new(&to(&old), "");
    let packet = query("web.example.", A, None);
    let name = lower_name(&packet);
    bed.forwarder.forward(&read(&packet, &name, 512), &[], Box::new(|_, _| ()));
    until("it is asked", || old.count() > 0).await;
    bed.forwarder.reload(&settings(&to(&new), "")).unwrap();
    assert_eq!(bed.message(&packet).await.answers.len(), 1);
}

#[tokio::test]
async fn a_reload_changes_upstreams_and_forgets_but_keeps_what_is_the_same() {
    let (old, new, other) = (Fake::with_ttl(60).await, Fake::with_ttl(60).await, Fake::with_ttl(60).await);
    let rules = |to: &Fake| format!("a = \"{}\"\nb = \"{}\"", to.address, other.address);
    let bed = Bed::new(&rules(&old), "");
    for name in ["x.a.", "x.b."] {
        bed.ask(&query(name, A, None)).await.unwrap();
    }
    let kept = Arc::clone(bed.forwarder.shared.rules.load().find(b"\x01b\x00").unwrap());
    bed.forwarder.reload(&settings(&rules(&old), "prefetch = false")).unwrap();
    bed.ask(&query("x.a.", A, None)).await.unwrap();
    assert_eq!(old.count(), 1, "nothing is forgotten where no upstream changes");
    bed.forwarder.reload(&settings(&rules(&new), "")).unwrap();
    bed.ask(&query("x.a.", A, None)).await.unwrap();
    assert_eq!((old.count(), new.count()), (1, 1));
    assert!(Arc::ptr_eq(&kept, bed.forwarder.shared.rules.load().find(b"\x01b\x00").unwrap()));

    let up =
        |fake: &Fake| bed.metric(&format!("muster_forward_upstream_up{{upstream=\"{}\"}}", fake.address));
    until("the old one is out of the metrics", || up(&old).is_none()).await;
    assert_eq!((up(&new), up(&other)), (Some(1.0), Some(1.0)));

    let bad = settings("a = { to = \"tls://127.0.0.1\", ca_file = \"/nowhere.pem\" }", "");
    assert!(bed.forwarder.reload(&bad).is_err());
    bed.ask(&query("y.a.", A, None)).await.unwrap();
    assert_eq!(new.count(), 2, "a reload that fails changes nothing");
    bed.forwarder.reload(&settings("", "")).unwrap();
    assert!(!bed.forwarder.is_active());
    assert!(bed.ask(&query("y.a.", A, None)).await.is_none());
}
