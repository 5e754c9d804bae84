//! The last known good state: restarts of the binary while its source is away.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::op::ResponseCode;
use testkit::{
    process::{MusterProcess, ask, http},
    wait::wait_for,
};

use crate::MUSTER;

/// The time between two changes of all services.
const TURN: Duration = Duration::from_millis(20);

const STORE: &str = "state/last-known-good.redb";

/// A Consul with as many services as are asked for, each with one instance, whose address changes
/// with each [`turn`](Self::turn).
struct FakeConsul {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<ConsulState>,
    changed: Condvar,
}

#[derive(Default)]
struct ConsulState {
    is_away: bool,
    turns: usize,
}

impl FakeConsul {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let of_server = Arc::clone(&shared);
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_server);
                thread::spawn(move || converse(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Closes every connection, and all new ones, until it is back.
    fn set_away(&self, is_away: bool) {
        self.shared.state.lock().unwrap().is_away = is_away;
        self.shared.changed.notify_all();
    }

    fn turn(&self) {
        self.shared.state.lock().unwrap().turns += 1;
        self.shared.changed.notify_all();
    }

    fn turns(&self) -> usize {
        self.shared.state.lock().unwrap().turns
    }
}

fn converse(mut stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut request = String::new();
        if !matches!(reader.read_line(&mut request), Ok(1..)) {
            return;
        }
        let mut line = String::new();
        while matches!(reader.read_line(&mut line), Ok(3..)) {
            line.clear();
        }
        let seen = request.split_once("index=").map(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap()
        });
        let is_list = request.contains("/catalog/services");
        let index_of = |state: &ConsulState| if is_list { 7 } else { 7 + state.turns };
        let waits =
            |state: &mut ConsulState| !state.is_away && seen.is_some_and(|seen| seen >= index_of(state));
        let state = shared.changed.wait_while(shared.state.lock().unwrap(), waits).unwrap();
        if state.is_away {
            return;
        }
        let index = index_of(&state);
        drop(state);
        let body = if is_list {
            r#"{ "db": [], "mail": [], "queue": [] }"#.to_owned()
        } else {
            format!(
                r#"[{{ "Node": {{ "Node": "n1", "Address": "10.9.9.9", "Datacenter": "dc1" }},
                "Service": {{ "ID": "i", "Service": "i", "Address": "10.0.0.{}", "Port": 80, "Weights": {{ "Passing": 1, "Warning": 1 }} }},
                "Checks": [{{ "Node": "n1", "CheckID": "http", "Name": "HTTP", "Status": "passing", "Output": "" }}] }}]"#,
                index % 200
            )
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: {index}\r\n\
             X-Consul-LastContact: 0\r\nX-Consul-KnownLeader: true\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

/// Eight services of the file, and three of an import.
fn names() -> Vec<String> {
    let services = ["web", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "db", "mail", "queue"];
    services.map(|service| format!("{service}.shop.")).into()
}

fn start(consul: &FakeConsul, server: &str) -> MusterProcess {
    let server = format!(
        "state = \"state\"\n{server}[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [consul.vms]\naddress = \"http://{}\"\n",
        consul.address
    );
    let mut zone = "namespace = \"shop\"\n[[import]]\nconsul = \"vms\"\n".to_owned();
    for name in names().iter().take(8) {
        let service = name.split('.').next().unwrap();
        zone += &format!("[services.{service}]\nfrom = [{{ consul = \"vms\", service = \"{service}\" }}]\n");
    }
    let muster = MusterProcess::start(MUSTER, &[("muster.toml", &server), ("zones/shop.toml", &zone)]);
    wait_for("all names are answered", || codes(&muster) == [ResponseCode::NoError; 11]);
    muster
}

/// Queries each name once.
fn codes(muster: &MusterProcess) -> Vec<ResponseCode> {
    names().iter().map(|name| ask(muster.dns, name).code).collect()
}

fn writes(muster: &MusterProcess) -> usize {
    let metrics = http(muster.admin, "GET", "/metrics", "");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("muster_state_writes_total{result=\"ok\"} "));
    line.unwrap().parse().unwrap()
}

/// Waits until the present state is written: a write may have begun before it.
fn wait_until_written(muster: &MusterProcess) {
    let before = writes(muster);
    wait_for("the state is written", || writes(muster) > before + usize::from(before == 0));
}

#[test]
fn a_restart_without_its_source_answers_what_was_last_known() {
    let consul = FakeConsul::start();
    // A short max_stale has the time of the state written every two seconds.
    let mut muster = start(&consul, "max_stale = \"20s\"\n");
    wait_until_written(&muster);
    let before: Vec<_> = names().iter().map(|name| ask(muster.dns, name).addresses).collect();
    consul.set_away(true);
    for restart in 0..3 {
        let started = Instant::now();
        muster.restart_with(|_| {});
        let after: Vec<_> = names().iter().map(|name| ask(muster.dns, name).addresses).collect();
        assert_eq!(after, before, "restart {restart}: the first answers are the old ones");
        eprintln!("restart {restart}: all names answered after {:?}", started.elapsed());
        assert_eq!(ask(muster.dns, "unlisted.shop.").code, ResponseCode::NXDomain);
        let metrics = http(muster.admin, "GET", "/metrics", "");
        assert!(metrics.contains("muster_state_restored 12"), "{metrics}");
    }
    // Each restart has the age of the loss: 20 s after it, whatever the number of restarts.
    wait_for("the state has expired", || codes(&muster) == [ResponseCode::ServFail; 11]);
    consul.set_away(false);
    wait_for("all names are answered", || codes(&muster) == [ResponseCode::NoError; 11]);
}

#[test]
fn stored_state_expires_by_its_age() {
    let consul = FakeConsul::start();
    let mut muster = start(&consul, "max_stale = \"1s\"\n");
    wait_until_written(&muster);
    consul.set_away(true);
    muster.restart_with(|_| {});
    wait_for("SERVFAIL", || codes(&muster) == [ResponseCode::ServFail; 11]);
    // Gone from the store as well.
    muster.restart_with(|_| {});
    assert_eq!(codes(&muster), [ResponseCode::ServFail; 11]);
}

#[test]
fn a_damaged_store_is_a_warning_and_a_clean_start() {
    let consul = FakeConsul::start();
    let mut muster = start(&consul, "max_stale = \"20s\"\n");
    wait_until_written(&muster);
    let cut = |path: &Path| {
        let length = fs::metadata(path).unwrap().len();
        fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    };
    let noise =
        |path: &Path| fs::write(path, (0..9999).map(|at| (at * at % 251) as u8).collect::<Vec<_>>()).unwrap();
    for damage in [&cut as &dyn Fn(&Path), &noise] {
        muster.restart_with(|folder| damage(&folder.join(STORE)));
        let log = muster.log();
        assert!(log.contains("the stored state cannot be used"), "{log}");
        assert!(muster.path(&format!("{STORE}.bad")).exists());
        wait_for("all names are answered", || codes(&muster) == [ResponseCode::NoError; 11]);
        wait_until_written(&muster);
    }
    consul.set_away(true);
    muster.restart_with(|_| {});
    assert_eq!(codes(&muster), [ResponseCode::NoError; 11], "the new store is as good");
}

#[test]
fn a_store_survives_kills_at_any_moment() {
    let consul = Arc::new(FakeConsul::start());
    let (stop, stopped) = mpsc::channel::<()>();
    let churning = thread::spawn({
        let consul = Arc::clone(&consul);
        move || {
            while stopped.recv_timeout(TURN) == Err(mpsc::RecvTimeoutError::Timeout) {
                consul.turn();
            }
        }
    });
    let mut muster = start(&consul, "");
    wait_until_written(&muster);
    for restart in 0..20 {
        // Any moment between two writes, and within one.
        let moment = consul.turns() + rand::random_range(0..125);
        wait_for("a random moment", || consul.turns() >= moment);
        consul.set_away(true);
        muster.restart_with(|_| {});
        assert_eq!(codes(&muster), [ResponseCode::NoError; 11], "restart {restart}");
        let log = muster.log();
        assert!(!log.contains("\"WARN\",\"fields\":{\"message\":\"the stored state"), "{log}");
        assert!(!muster.path(&format!("{STORE}.bad")).exists(), "restart {restart}");
        consul.set_away(false);
    }
    drop(stop);
    churning.join().unwrap();
}
