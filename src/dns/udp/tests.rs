//! Serving a socket allocates nothing between receiving and sending.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use rstest::rstest;

use super::*;
use crate::{
    catalog::{Catalog, SnapshotCell},
    config,
    telemetry::Metrics,
};

fn responder() -> Arc<Responder> {
    let files = [
        ("muster.toml".into(), String::new()),
        ("zones/shop.toml".into(), "namespace = \"shop\"".to_owned()),
    ];
    let catalog = Catalog::new(&config::load_from(&files).unwrap().config, 1);
    let cell = Arc::new(SnapshotCell::from_pointee(catalog.snapshot()));
    Arc::new(Responder::new(cell, Arc::new(Metrics::new().unwrap()), None))
}

fn assert_no_allocation(worker: &mut impl Worker, port: u16, host: &str) {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii("ns.shop.").unwrap(), RecordType::ANY));
    let query = message.to_vec().unwrap();
    let client = UdpSocket::bind((host, 0)).unwrap();
    client.connect((host, port)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut room = [0; 512];
    let mut exchange = || {
        client.send(&query).unwrap();
        worker.step().unwrap();
        client.recv(&mut room).unwrap()
    };
    for _ in 0..4 {
        exchange();
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..64 {
            exchange();
        }
    });
    assert_eq!(counted.count_total, 0, "allocations in 64 answers: {counted:?}");
    assert_eq!((room[3] & 0x0f, room[7]), (0, 1), "one address");
}

#[rstest]
#[case::v4("127.0.0.1")]
#[case::v6("::1")]
fn a_batch_allocates_nothing(#[case] host: &str) {
    let socket = bind(SocketAddr::new(host.parse().unwrap(), 0), 1).unwrap().remove(0);
    let local = socket.local_addr().unwrap();
    if local.is_ipv4() {
        let mut worker = BatchWorker::<SockaddrIn>::new(socket, local, responder());
        assert_no_allocation(&mut worker, local.port(), host);
    } else {
        let mut worker = BatchWorker::<SockaddrIn6>::new(socket, local, responder());
        assert_no_allocation(&mut worker, local.port(), host);
    }
}

#[rstest]
#[case::v4("0.0.0.0", "127.0.0.1")]
#[case::v6("::", "::1")]
fn a_wildcard_socket_allocates_nothing(#[case] address: &str, #[case] host: &str) {
    let socket = bind(SocketAddr::new(address.parse().unwrap(), 0), 1).unwrap().remove(0);
    let local = socket.local_addr().unwrap();
    let mut worker = WildcardWorker::new(socket, local, responder());
    assert_no_allocation(&mut worker, local.port(), host);
}
