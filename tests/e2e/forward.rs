//! External names, through muster, from BIND.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::net::UdpSocket;

use crate::{
    bind::{self, Bind},
    muster::Muster,
    rig::{output, output_even_if_failed, percentile},
};

const NAMESPACE: &str = "namespace = \"shop\"\n[services.web]\nfrom = [{ static = [\"10.0.0.1:80\"] }]\n";

/// Longest lookup. Stub resolvers wait five times as long, but people notice.
const PATIENCE: Duration = Duration::from_secs(1);

/// Owner and type.
const QUESTIONS: &[(&str, &str)] = &[
    ("@", "SOA"),
    ("@", "NS"),
    ("@", "MX"),
    ("@", "CAA"),
    ("@", "TXT"),
    ("@", "DNSKEY"),
    ("@", "NSEC"),
    ("a", "A"),
    ("a", "RRSIG"),
    ("aaaa", "AAAA"),
    ("chain1", "A"),
    ("chain1", "AAAA"),
    ("dangling", "A"),
    ("away", "A"),
    ("x.dname", "A"),
    ("ptr", "PTR"),
    ("srv", "SRV"),
    ("naptr", "NAPTR"),
    ("svcb", "TYPE64"),
    ("https", "TYPE65"),
    ("sshfp", "SSHFP"),
    ("tlsa", "TLSA"),
    ("loc", "LOC"),
    ("hinfo", "HINFO"),
    ("rp", "RP"),
    ("afsdb", "AFSDB"),
    ("uri", "URI"),
    ("eui48", "EUI48"),
    ("eui64", "EUI64"),
    ("unknown", "TYPE65280"),
    ("ds", "DS"),
    ("x.ds", "A"),
    ("some.load", "A"),
    ("a", "AAAA"),
    ("a", "TYPE65280"),
    ("no", "A"),
    ("big", "TXT"),
];

fn full(owner: &str) -> String {
    if owner == "@" { bind::ZONE.to_owned() } else { format!("{owner}.{}", bind::ZONE) }
}

/// The status and the records of dig's answer, sorted, without TTLs and without what differs from
/// hop to hop.
async fn dig(to: SocketAddr, options: &[&str], owner: &str, rtype: &str) -> Vec<String> {
    let (port, name) = (to.port().to_string(), full(owner));
    let common = ["@127.0.0.1", "-p", &port, "+nottlid", "+nocookie", "+tries=1", "-t", rtype, "-q", &name];
    let text = output("dig", &[&common[..], options].concat()).await;
    let mut lines: Vec<String> = text
        .lines()
        .filter_map(|line| match line.split_once("status: ") {
            Some((_, status)) => status.split(',').next().map(str::to_owned),
            None => (!line.is_empty() && !line.starts_with(';')).then(|| line.to_owned()),
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs BIND and dig: make e2e"]
async fn dig_sees_the_same_through_muster_as_from_bind() {
    let folder = tempfile::tempdir().unwrap();
    let (zone, _) = bind::sign(folder.path()).await;
    let bind = Bind::start(folder.path(), &zone).await;
    let muster =
        Muster::start(folder.path(), &format!("[forward]\n\".\" = \"{}\"", bind.address), NAMESPACE).await;
    for (owner, rtype) in QUESTIONS {
        for options in
            [&["+noedns"][..], &["+edns=0"], &["+dnssec"], &["+dnssec", "+tcp"], &["+dnssec", "+cdflag"]]
        {
            let expected = dig(bind.address, options, owner, rtype).await;
            assert!(!expected.is_empty(), "{owner} {rtype}");
            // The second answer is from the cache.
            for _ in 0..2 {
                assert_eq!(
                    dig(muster.dns, options, owner, rtype).await,
                    expected,
                    "{owner} {rtype} {options:?}"
                );
            }
        }
    }
    // Truncation, and then TCP.
    let (port, name) = (muster.dns.port().to_string(), full("big"));
    let arguments = ["@127.0.0.1", "-p", &port, "+ignore", "+bufsize=4096", "txt", &name];
    let cut = output("dig", &arguments).await;
    assert!(cut.contains("flags: qr tc rd ra;"), "{cut}");
    let whole = output("dig", &["@127.0.0.1", "-p", &port, "txt", &name]).await;
    assert!(whole.contains("Truncated, retrying in TCP mode") && whole.contains("ANSWER: 16"), "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs BIND and delv: make e2e"]
async fn delv_validates_signatures_through_muster() {
    let folder = tempfile::tempdir().unwrap();
    let (zone, anchors) = bind::sign(folder.path()).await;
    let bind = Bind::start(folder.path(), &zone).await;
    let muster =
        Muster::start(folder.path(), &format!("[forward]\n\".\" = \"{}\"", bind.address), NAMESPACE).await;
    let (port, anchors) = (muster.dns.port().to_string(), anchors.display().to_string());
    let root = format!("+root={}", bind::ZONE);
    for (owner, rtype, words) in [
        ("a", "A", "; fully validated"),
        ("chain1", "A", "; fully validated"),
        ("unknown", "TYPE65280", "; fully validated"),
        ("big", "TXT", "; fully validated"),
        ("some.load", "A", "; fully validated"),
        ("a", "AAAA", "; negative response, fully validated"),
        ("no", "A", "; negative response, fully validated"),
    ] {
        for _ in 0..2 {
            let arguments = ["@127.0.0.1", "-p", &port, "-a", &anchors, &root, &full(owner), rtype];
            let told = output_even_if_failed("delv", &arguments).await;
            assert!(told.contains(words), "{owner} {rtype}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs BIND: make e2e"]
async fn no_lookup_fails_when_the_first_of_two_upstreams_stops() {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let folder = tempfile::tempdir().unwrap();
        let (zone, _) = bind::sign(folder.path()).await;
        let mut first = Bind::start(folder.path(), &zone).await;
        let second = Bind::start(folder.path(), &zone).await;
        let sources = format!("[forward]\n\".\" = [\"{}\", \"{}\"]", first.address, second.address);
        let muster = Muster::start(folder.path(), &sources, NAMESPACE).await;
        let (done, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..16)
            .map(|client| {
                tokio::spawn(ask_without_end(muster.dns, client, Arc::clone(&done), Arc::clone(&ended)))
            })
            .collect();
        let reach = async |count: usize| {
            while done.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        reach(2000).await;
        let before = done.load(Ordering::Relaxed);
        kill(Pid::from_raw(first.process().id().try_into().unwrap()), signal).unwrap();
        reach(before + 4000).await;
        ended.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for client in clients {
            took.extend(client.await.unwrap());
        }
        took.sort_unstable();
        let slowest = *took.last().unwrap();
        println!(
            "{signal}: {} lookups, none failed; median {:?}, slowest {slowest:?}",
            took.len(),
            took[took.len() / 2],
        );
        assert!(slowest < PATIENCE, "{signal}: a lookup took {slowest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs BIND: make e2e"]
async fn how_much_later_an_answer_comes_through_muster() {
    const COUNT: usize = 3000;
    let folder = tempfile::tempdir().unwrap();
    let (zone, _) = bind::sign(folder.path()).await;
    let bind = Bind::start(folder.path(), &zone).await;
    let muster =
        Muster::start(folder.path(), &format!("[forward]\n\".\" = \"{}\"", bind.address), NAMESPACE).await;
    let mut took = [const { Vec::new() }; 3];
    let sockets = [connected(bind.address).await, connected(muster.dns).await];
    for at in 0..COUNT {
        let names = [format!("b{at}"), format!("m{at}"), format!("m{at}")];
        for (place, name) in names.iter().enumerate() {
            let socket = if place == 0 { &sockets[0] } else { &sockets[1] };
            took[place].push(lookup(socket, &format!("{name}.load.{}.", bind::ZONE)).await);
        }
    }
    for (took, what) in
        took.iter_mut().zip(["BIND alone", "muster, asked for the first time", "muster, again"])
    {
        took.sort_unstable();
        println!("{what}: median {:?}, 99 of 100 within {:?}", percentile(took, 0.5), percentile(took, 0.99));
    }
}

async fn connected(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

/// Queries a name, which must have one address; returns how long the answer took.
async fn lookup(socket: &UdpSocket, name: &str) -> Duration {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let began = Instant::now();
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    let mut room = [0; 4096];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut room)).await;
    let length = received.unwrap_or_else(|_| panic!("no answer for {name} in {PATIENCE:?}")).unwrap();
    let took = began.elapsed();
    let answer = Message::from_vec(&room[..length]).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1), "{name}");
    took
}

/// Queries a new name each time; every answer must have the address. Returns how long each took.
async fn ask_without_end(
    to: SocketAddr,
    client: usize,
    done: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
) -> Vec<Duration> {
    let socket = connected(to).await;
    let mut took = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let name = format!("c{client}-{}.load.{}.", took.len(), bind::ZONE);
        took.push(lookup(&socket, &name).await);
        done.fetch_add(1, Ordering::Relaxed);
    }
    took
}
