//! A fake Consul for tests: its HTTP protocol with the sharp edges, on a free port of 127.0.0.1.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Response, StatusCode},
    serve::{Listener, ListenerExt as _},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

/// The server; it stops when dropped.
pub(super) struct FakeConsul {
    pub(super) address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<FakeState>,
    changes: watch::Sender<()>,
}

/// The state that responses are made from; [`FakeConsul::change`] changes it.
#[derive(Default)]
pub(super) struct FakeState {
    pub(super) index: u64,
    pub(super) services: BTreeMap<String, FakeService>,
    /// The index of the list of services.
    pub(super) list_index: u64,
    /// The index of the lists of checks by state.
    pub(super) checks_index: u64,
    /// Whether lists of checks by state are forbidden.
    pub(super) denies_checks: bool,
    pub(super) behavior: Behavior,
    /// Milliseconds since the last contact with the leader, for queries with `stale`.
    pub(super) last_contact: u64,
    /// Whether responses report that ACLs filtered them.
    pub(super) filtered: bool,
    /// Whether responses report that ACLs deny by default.
    pub(super) default_deny: bool,
    /// Every request so far.
    pub(super) seen: Vec<SeenRequest>,
    /// Connections opened so far.
    pub(super) connections: usize,
    open: usize,
    /// The most requests that were open at once.
    pub(super) peak: usize,
}

/// One service and the index of its last change.
#[derive(Default)]
pub(super) struct FakeService {
    pub(super) index: u64,
    pub(super) entries: Vec<Value>,
}

/// How the server responds.
#[derive(Clone, Default)]
pub(super) enum Behavior {
    /// As Consul does.
    #[default]
    Normal,
    /// This status and body, `X-Consul-Index: 1` as Consul sends it with errors, and a redirect to
    /// the same URL.
    Error(u16, &'static str),
    /// 200 with the current index and this body.
    Body(Vec<u8>),
    /// 200 with an empty list and no index.
    NoIndex,
    /// Never.
    Hang,
    /// At once, also without a change.
    Immediate,
    /// As an agent that lost its stream: at once, with an empty list and index 1 to blocking
    /// queries and correctly to others.
    LostStream,
    /// As a server that has just joined: nothing and index 1 to queries with `stale`, and correctly
    /// to others, which the leader answers.
    Behind,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct SeenRequest {
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) token: Option<String>,
}

impl SeenRequest {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn all(&self, key: &str) -> Vec<&str> {
        self.query.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    }

    fn index(&self) -> u64 {
        self.get("index").map_or(0, |index| index.parse().unwrap())
    }

    fn wait(&self) -> Duration {
        let millis = self.get("wait").unwrap_or("300000ms").strip_suffix("ms").unwrap();
        Duration::from_millis(millis.parse().unwrap())
    }
}

impl FakeConsul {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self::start_on(listener, address)
    }

    /// Listens on a Unix socket.
    pub(super) fn start_at(socket: &std::path::Path) -> Self {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        Self::start_on(listener, format!("unix://{}", socket.display()))
    }

    fn start_on(listener: impl Listener<Addr: std::fmt::Debug>, address: String) -> Self {
        let state = FakeState { index: 40, list_index: 40, checks_index: 40, ..FakeState::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(()) });
        let counted = Arc::clone(&shared);
        let listener = listener.tap_io(move |_| counted.lock().connections += 1);
        let served = Arc::clone(&shared);
        let router = Router::new().fallback(move |request: Request| respond(Arc::clone(&served), request));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// Changes the state and wakes all waiting queries.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut FakeState) -> T) -> T {
        let result = change(&mut self.shared.lock());
        self.shared.changes.send_replace(());
        result
    }

    /// Registers these instances as a service, under the next index.
    pub(super) fn set(&self, service: &str, entries: Vec<Value>) {
        self.change(|state| {
            state.index += 1;
            let index = state.index;
            // As Consul does: registrations wake one kind of list, changed checks the other.
            let ids = |entries: &[Value]| -> Vec<Value> {
                entries.iter().map(|entry| entry["Service"]["ID"].clone()).collect()
            };
            match state.services.get(service).map(|service| ids(&service.entries)) {
                Some(old) if old == ids(&entries) => state.checks_index = index,
                _ => state.list_index = index,
            }
            state.services.insert(service.to_owned(), FakeService { index, entries });
        });
    }

    /// Removes a service from the list.
    pub(super) fn unset(&self, service: &str) {
        self.change(|state| {
            state.index += 1;
            state.list_index = state.index;
            state.services.remove(service);
        });
    }

    pub(super) fn behave(&self, behavior: Behavior) {
        self.change(|state| state.behavior = behavior);
    }

    /// Waits until the condition holds. It is checked after each request, each end of one, and each
    /// change.
    pub(super) async fn until(&self, event: &str, condition: impl Fn(&FakeState) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        let holds = async {
            while !condition(&self.shared.lock()) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), holds)
            .await
            .unwrap_or_else(|_| panic!("never: {event}"));
    }

    /// The number of requests without a response.
    pub(super) fn open(&self) -> usize {
        self.shared.lock().open
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<SeenRequest> {
        self.shared.lock().seen.clone()
    }
}

impl Drop for FakeConsul {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap()
    }
}

impl FakeState {
    pub(super) fn is_open(&self, requests: usize) -> bool {
        self.open == requests
    }
}

/// Counts a request as open until its response is sent or its client closes the connection.
struct OpenRequest(Arc<Shared>);

impl OpenRequest {
    fn new(shared: Arc<Shared>, seen: SeenRequest) -> Self {
        {
            let mut state = shared.lock();
            state.open += 1;
            state.peak = state.peak.max(state.open);
            state.seen.push(seen);
        }
        shared.changes.send_replace(());
        Self(shared)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
        self.0.changes.send_replace(());
    }
}

async fn respond(shared: Arc<Shared>, request: Request) -> Response<Body> {
    let url = reqwest::Url::parse(&format!("http://consul{}", request.uri())).unwrap();
    let header =
        |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = SeenRequest {
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        token: header(request.headers(), "X-Consul-Token"),
    };
    let _open = OpenRequest::new(Arc::clone(&shared), seen.clone());
    let mut changes = shared.changes.subscribe();
    let deadline = tokio::time::Instant::now() + seen.wait();
    loop {
        if let Some(response) = shared.lock().respond(&seen, tokio::time::Instant::now() >= deadline) {
            return response;
        }
        let _ = tokio::time::timeout_at(deadline, changes.changed()).await;
    }
}

impl FakeState {
    /// The response to a request; `None` while the query waits.
    fn respond(&self, seen: &SeenRequest, is_over: bool) -> Option<Response<Body>> {
        let (index, body) = match seen.path.strip_prefix("/v1/health/service/") {
            Some(name) => match self.services.get(name) {
                Some(service) => (service.index, json!(service.entries)),
                None => (self.list_index, json!([])),
            },
            None if let Some(wanted) = seen.path.strip_prefix("/v1/health/state/") => {
                if self.denies_checks {
                    return Some(response(403, None, "Permission denied".into()));
                }
                (self.checks_index, Value::Array(self.checks(wanted)))
            }
            None if seen.path == "/v1/catalog/services" => {
                let names = self.services.keys().map(|name| (name.clone(), json!([])));
                (self.list_index, Value::Object(names.collect()))
            }
            None => return Some(response(404, None, "no such path".into())),
        };
        let is_behind = matches!(self.behavior, Behavior::Behind) && seen.get("stale").is_some();
        let (index, body) = match is_behind {
            true if body.is_array() => (1, json!([])),
            true => (1, json!({})),
            false => (index, body),
        };
        match &self.behavior {
            Behavior::Error(status, body) => {
                let mut response = response(*status, Some(1), (*body).into());
                response.headers_mut().insert("Location", seen.path.parse().unwrap());
                Some(response)
            }
            Behavior::Body(body) => Some(response(200, Some(index), body.clone().into())),
            Behavior::NoIndex => Some(response(200, None, "[]".into())),
            Behavior::Hang => None,
            Behavior::LostStream if seen.index() > 0 => Some(response(200, Some(1), "[]".into())),
            Behavior::Immediate | Behavior::LostStream => Some(self.meta(seen, index, &body)),
            Behavior::Normal | Behavior::Behind if seen.index() == 0 || index > seen.index() || is_over => {
                Some(self.meta(seen, index, &body))
            }
            Behavior::Normal | Behavior::Behind => None,
        }
    }

    /// All checks in this state. A check whose entry has no name of a service is the node's.
    fn checks(&self, wanted: &str) -> Vec<Value> {
        let of_service = |(name, service): (&String, &FakeService)| -> Vec<Value> {
            let checks = service.entries.iter().flat_map(|entry| {
                let id = &entry["Service"]["ID"];
                entry["Checks"].as_array().unwrap().iter().map(move |check| (id.clone(), check.clone()))
            });
            let named = checks.filter(|(_, check)| wanted == "any" || check["Status"] == wanted).map(
                |(id, mut check)| {
                    if check["CheckID"] != "serfHealth" {
                        check["CheckID"] = format!("{name}/{id}").into();
                        check["ServiceName"] = name.as_str().into();
                    }
                    check
                },
            );
            named.collect()
        };
        self.services.iter().flat_map(of_service).collect()
    }

    fn meta(&self, seen: &SeenRequest, index: u64, body: &Value) -> Response<Body> {
        let mut response = response(200, Some(index), body.to_string().into());
        let lag = if seen.get("stale").is_some() { self.last_contact } else { 0 };
        response.headers_mut().insert("X-Consul-LastContact", lag.into());
        response.headers_mut().insert("X-Consul-KnownLeader", "false".parse().unwrap());
        if self.filtered {
            response.headers_mut().insert("X-Consul-Results-Filtered-By-ACLs", "true".parse().unwrap());
        }
        if self.default_deny {
            response.headers_mut().insert("X-Consul-Default-Acl-Policy", "deny".parse().unwrap());
        }
        response
    }
}

fn response(status: u16, index: Option<u64>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(index) = index {
        response.headers_mut().insert("X-Consul-Index", index.into());
    }
    response
}

/// An entry of `/v1/health/service`, with one check of this status.
pub(super) fn entry(id: &str, address: &str, status: &str) -> Value {
    json!({
        "Node": { "Node": "n1", "Address": "10.9.9.9", "Datacenter": "dc1", "Meta": null },
        "Service": { "ID": id, "Service": "web", "Tags": null, "Address": address, "Port": 80,
                     "Weights": { "Passing": 1, "Warning": 1 }, "Meta": null },
        "Checks": [{ "Node": "n1", "CheckID": "http", "Name": "HTTP", "Status": status, "Output": "said so" }],
    })
}
