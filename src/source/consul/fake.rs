//! A Consul for tests: the HTTP protocol with its sharp edges, on a free port of 127.0.0.1.

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
    serve::ListenerExt as _,
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

/// The server; it ends when this is dropped.
pub(super) struct FakeConsul {
    pub(super) address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

/// What the server says; change it by [`FakeConsul::change`].
#[derive(Default)]
pub(super) struct State {
    pub(super) index: u64,
    pub(super) services: BTreeMap<String, Service>,
    /// The index of the list of services.
    pub(super) list_index: u64,
    pub(super) mood: Mood,
    /// Milliseconds since the last word from the leader, for queries with `stale`.
    pub(super) last_contact: u64,
    /// Whether answers say that ACLs have left something out.
    pub(super) filtered: bool,
    /// Every request so far.
    pub(super) seen: Vec<Seen>,
    /// Connections that were opened so far.
    pub(super) connections: usize,
    open: usize,
    /// Most requests that were open at one time.
    pub(super) peak: usize,
}

/// One service and the index of its last change.
#[derive(Default)]
pub(super) struct Service {
    pub(super) index: u64,
    pub(super) entries: Vec<Value>,
}

/// What kind of answers are given.
#[derive(Clone, Default)]
pub(super) enum Mood {
    /// As Consul does it.
    #[default]
    Normal,
    /// This status and body, `X-Consul-Index: 1` as Consul has it with errors, and a redirection to the same place.
    Error(u16, &'static str),
    /// 200 with this body, the current index and nothing else right.
    Body(Vec<u8>),
    /// 200 with an empty list and no index.
    NoIndex,
    /// Nothing, ever.
    Hang,
    /// At once, also where nothing has changed.
    Immediate,
    /// An agent without its stream: blocking queries get an empty list and index 1 at once, others are right.
    LostStream,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) token: Option<String>,
}

impl Seen {
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
        let state = State { index: 40, list_index: 40, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(()) });
        let counted = Arc::clone(&shared);
        let listener = listener.tap_io(move |_| counted.lock().connections += 1);
        let served = Arc::clone(&shared);
        let router = Router::new().fallback(move |request: Request| answer(Arc::clone(&served), request));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// Changes the state and wakes every query that waits.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.shared.lock());
        self.shared.changes.send_replace(());
        result
    }

    /// Registers these instances as a service, under the next index.
    pub(super) fn set(&self, service: &str, entries: Vec<Value>) {
        self.change(|state| {
            state.index += 1;
            let index = state.index;
            if !state.services.contains_key(service) {
                state.list_index = index;
            }
            state.services.insert(service.to_owned(), Service { index, entries });
        });
    }

    /// Takes a service out of the list.
    pub(super) fn unset(&self, service: &str) {
        self.change(|state| {
            state.index += 1;
            state.list_index = state.index;
            state.services.remove(service);
        });
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.change(|state| state.mood = mood);
    }

    /// Waits until the condition holds; it is looked at after every request, end of one, and change.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        let holds = async {
            while !condition(&self.shared.lock()) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), holds)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// How many requests there are without an answer.
    pub(super) fn open(&self) -> usize {
        self.shared.lock().open
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }
}

impl Drop for FakeConsul {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    pub(super) fn is_open(&self, requests: usize) -> bool {
        self.open == requests
    }
}

/// Counts a request as open until it is answered or its client is gone.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>, seen: Seen) -> Self {
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

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
        self.0.changes.send_replace(());
    }
}

async fn answer(shared: Arc<Shared>, request: Request) -> Response<Body> {
    let url = reqwest::Url::parse(&format!("http://consul{}", request.uri())).unwrap();
    let header =
        |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = Seen {
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        token: header(request.headers(), "X-Consul-Token"),
    };
    let _open = Open::new(Arc::clone(&shared), seen.clone());
    let mut changes = shared.changes.subscribe();
    let deadline = tokio::time::Instant::now() + seen.wait();
    loop {
        if let Some(response) = shared.lock().answer(&seen, tokio::time::Instant::now() >= deadline) {
            return response;
        }
        let _ = tokio::time::timeout_at(deadline, changes.changed()).await;
    }
}

impl State {
    /// The answer to a request; `None` while it has to wait.
    fn answer(&self, seen: &Seen, is_over: bool) -> Option<Response<Body>> {
        let (index, body) = match seen.path.strip_prefix("/v1/health/service/") {
            Some(name) => match self.services.get(name) {
                Some(service) => (service.index, json!(service.entries)),
                None => (self.list_index, json!([])),
            },
            None if seen.path == "/v1/catalog/services" => {
                let names = self.services.keys().map(|name| (name.clone(), json!([])));
                (self.list_index, Value::Object(names.collect()))
            }
            None => return Some(response(404, None, "no such path".into())),
        };
        match &self.mood {
            Mood::Error(status, body) => {
                let mut response = response(*status, Some(1), (*body).into());
                response.headers_mut().insert("Location", seen.path.parse().unwrap());
                Some(response)
            }
            Mood::Body(body) => Some(response(200, Some(index), body.clone().into())),
            Mood::NoIndex => Some(response(200, None, "[]".into())),
            Mood::Hang => None,
            Mood::LostStream if seen.index() > 0 => Some(response(200, Some(1), "[]".into())),
            Mood::Immediate | Mood::LostStream => Some(self.meta(seen, index, &body)),
            Mood::Normal if seen.index() == 0 || index > seen.index() || is_over => {
                Some(self.meta(seen, index, &body))
            }
            Mood::Normal => None,
        }
    }

    fn meta(&self, seen: &Seen, index: u64, body: &Value) -> Response<Body> {
        let mut response = response(200, Some(index), body.to_string().into());
        let lag = if seen.get("stale").is_some() { self.last_contact } else { 0 };
        response.headers_mut().insert("X-Consul-LastContact", lag.into());
        response.headers_mut().insert("X-Consul-KnownLeader", "false".parse().unwrap());
        if self.filtered {
            response.headers_mut().insert("X-Consul-Results-Filtered-By-ACLs", "true".parse().unwrap());
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

/// An instance as `/v1/health/service` shows it, with one check of this status.
pub(super) fn entry(id: &str, address: &str, status: &str) -> Value {
    json!({
        "Node": { "Node": "n1", "Address": "10.9.9.9", "Datacenter": "dc1", "Meta": null },
        "Service": { "ID": id, "Service": "web", "Tags": null, "Address": address, "Port": 80,
                     "Weights": { "Passing": 1, "Warning": 1 }, "Meta": null },
        "Checks": [{ "Node": "n1", "CheckID": "http", "Name": "HTTP", "Status": status, "Output": "said so" }],
    })
}
