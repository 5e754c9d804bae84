//! A server's life: probes that change its answers, its admin port, its end.

use std::{
    io::{Read as _, Write as _},
    net::UdpSocket,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};

use testkit::{
    process::{MusterProcess, ask, http},
    running::Running,
    wait::wait_for,
};

use super::asking::{ZONE, connect, exchange, query};
use crate::MUSTER;

#[test]
fn a_server_under_load_stops_at_once() {
    let running = Running::loopback(ZONE);
    let dns = running.dns();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let client = std::thread::spawn({
        let done = std::sync::Arc::clone(&done);
        move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let packet = query("web.shop.", RecordType::A).to_vec().unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = socket.send_to(&packet, dns);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
    });
    let started = Instant::now();
    drop(running);
    let took = started.elapsed();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    client.join().unwrap();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_lame_duck_answers_but_is_not_ready_until_it_is_told_again() {
    let server = "[listen]\ndns = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nlameduck = \"5m\"";
    let zone = "namespace = \"shop\"\n[services.web]\nfrom = [{ static = [\"10.0.0.1:80\"] }]";
    let mut muster = MusterProcess::start(MUSTER, &[("muster.toml", server), ("zones/shop.toml", zone)]);
    let readiness = |muster: &MusterProcess| http(muster.admin, "GET", "/readyz", "");
    wait_for("it is ready", || readiness(&muster).starts_with("HTTP/1.1 200"));
    muster.terminate();
    wait_for("it is not ready", || readiness(&muster).contains("not ready: stopping"));
    assert_eq!(ask(muster.dns, "web.shop.").code, ResponseCode::NoError);
    muster.terminate();
    wait_for("it ends", || muster.has_ended());
}

#[test]
fn a_probed_instance_leaves_and_comes_back() {
    // No client connects from this address, so the port that is given up for a while stays free.
    let listener = std::net::TcpListener::bind("127.0.0.79:0").unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.79:0").unwrap();
    let (port, dead_port) = (listener.local_addr().unwrap().port(), dead.local_addr().unwrap().port());
    drop(dead);
    let zone = format!(
        "namespace = \"shop\"\n[services.web]\nfrom = [{{ static = [\"127.0.0.79:{port}\", \"127.0.0.79:{dead_port}\"], \
         check = {{ tcp = true, interval = \"100ms\", rise = 1, fall = 1 }} }}]"
    );
    let running = Running::loopback(&zone);
    let ports = || -> Vec<u16> {
        let answer = exchange(running.dns(), &query("web.shop.", RecordType::SRV));
        let port = |data: &RData| if let RData::SRV(srv) = data { Some(srv.port) } else { None };
        let mut ports: Vec<_> = answer.answers.iter().filter_map(|record| port(&record.data)).collect();
        ports.sort_unstable();
        ports
    };
    wait_for("only the live one", || ports() == [port]);
    let back = std::net::TcpListener::bind(("127.0.0.79", dead_port)).unwrap();
    wait_for("both", || ports().len() == 2);
    drop(listener);
    wait_for("only the other one", || ports() == [dead_port]);
    drop(back);
    wait_for("fail-open: both", || ports().len() == 2);
}

#[test]
fn the_admin_port_tells_health_readiness_and_metrics() {
    let running = Running::loopback(ZONE);
    exchange(running.dns(), &query("web.shop.", RecordType::A));
    let get = |path: &str| -> String {
        let mut stream = connect(running.server().admin().unwrap());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics");
    assert!(metrics.contains("muster_queries_total{rcode=\"NOERROR\",transport=\"udp\"} 1"), "{metrics}");
}
