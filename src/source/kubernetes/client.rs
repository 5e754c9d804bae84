//! The client: one connection pool and one set of credentials for all watches of a source, made again when in doubt.

use std::{error::Error, io, path::Path, time::Duration};

use http::{Request, StatusCode};
use kube::{
    Client, Config,
    client::{AuthError, Body},
    config::Kubeconfig,
    core::{Status, request},
};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    config::KubernetesSource,
    source::{WatchError, body::read_body, watch_error::excerpt},
};

/// The source's client, made when it is first needed.
#[derive(Debug)]
pub(super) struct SharedClient {
    settings: KubernetesSource,
    /// How long nothing may come on a connection.
    silence: Duration,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    current: Option<Current>,
    /// A client in the making. It stays here when waiting for it was given up: a credential plugin that hangs must not
    /// be started once more with every try.
    making: Option<JoinHandle<Result<Client, WatchError>>>,
}

struct Current {
    client: Client,
    made: Instant,
    doubted: bool,
}

/// A client and when it was made, which says which client a doubt is about.
#[derive(Clone)]
pub(super) struct Lease {
    client: Client,
    made: Instant,
}

/// What the server answered with.
pub(super) enum Answer {
    /// Success, and a body to read.
    Body(Body),
    /// HTTP 410: the version or the page asked for is no longer there.
    Gone,
}

impl SharedClient {
    /// How long a connection, with TLS, may take to open.
    const CONNECT: Duration = Duration::from_secs(10);
    /// How long making a client may take: credential plugins may ask far away.
    const MAKE: Duration = Duration::from_secs(60);
    /// A doubted client is replaced when it is older than this, so that many watches do not all make new ones.
    const TRUSTED: Duration = Duration::from_secs(2);
    /// How long before its certificate expires a client is replaced, in seconds.
    const EXPIRY_MARGIN: i64 = 60;

    pub(super) fn new(settings: KubernetesSource, silence: Duration) -> Self {
        Self { settings, silence, slot: Mutex::default() }
    }

    /// Sends a request and waits for the head of the answer for at most `limit`.
    ///
    /// # Errors
    /// When there is no client, no connection, no answer in time, or an answer that is neither success nor 410.
    pub(super) async fn get(
        &self,
        request: Result<Request<Vec<u8>>, request::Error>,
        limit: Duration,
    ) -> Result<Answer, WatchError> {
        let request = request.map_err(|error| WatchError::Setup(format!("cannot ask for this: {error}")))?;
        let lease = self.lease().await?;
        let answer = timeout(limit, exchange(&lease.client, request)).await;
        let answer = answer.unwrap_or(Err(Failed { error: WatchError::Timeout(limit), doubtful: true }));
        if matches!(answer, Err(Failed { doubtful: true, .. })) {
            self.doubt(&lease).await;
        }
        answer.map_err(|failed| failed.error)
    }

    /// Returns the current client, or makes one.
    async fn lease(&self) -> Result<Lease, WatchError> {
        timeout(Self::MAKE, self.current_or_new()).await.map_err(|_| {
            WatchError::Setup(format!(
                "no credentials within {:?}; check the kubeconfig's credential plugin",
                Self::MAKE
            ))
        })?
    }

    async fn current_or_new(&self) -> Result<Lease, WatchError> {
        let mut slot = self.slot.lock().await;
        if let Some(current) = slot.current.as_ref().filter(|current| current.is_good()) {
            return Ok(Lease { client: current.client.clone(), made: current.made });
        }
        let making = slot.making.get_or_insert_with(|| {
            let (settings, silence) = (self.settings.clone(), self.silence);
            // Reads files and may run a program, all of it blocking.
            tokio::task::spawn_blocking(move || make(&settings, silence))
        });
        let made = making.await;
        slot.making = None;
        let client = made.map_err(|error| WatchError::Setup(format!("cannot make a client: {error}")))??;
        let lease = Lease { client, made: Instant::now() };
        slot.current = Some(Current { client: lease.client.clone(), made: lease.made, doubted: false });
        Ok(lease)
    }

    /// Notes that the client may be of no use any more.
    async fn doubt(&self, lease: &Lease) {
        if let Some(current) = &mut self.slot.lock().await.current
            && current.made == lease.made
        {
            current.doubted = true;
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("made", &self.current.is_some()).finish_non_exhaustive()
    }
}

impl Current {
    fn is_good(&self) -> bool {
        let doubted = self.doubted && self.made.elapsed() >= SharedClient::TRUSTED;
        // Only clients with a certificate from a plugin have a time; kube refreshes tokens itself.
        let expiring = self.client.valid_until().as_ref().is_some_and(|until| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            until.as_second() - SharedClient::EXPIRY_MARGIN
                <= i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
        });
        !doubted && !expiring
    }
}

/// Makes a client from the kubeconfig, or from the service account of the pod we are in.
fn make(settings: &KubernetesSource, silence: Duration) -> Result<Client, WatchError> {
    let mut config = match &settings.kubeconfig {
        Some(path) => read(path, settings.context.clone()).map_err(|error| {
            let path = path.display();
            WatchError::Setup(format!("cannot use the kubeconfig {path} of [{}]: {error}", settings.id))
        })?,
        None => Config::incluster().map_err(|error| {
            WatchError::Setup(format!(
                "[{}] names no kubeconfig, and there is no service account of a pod: {error}",
                settings.id
            ))
        })?,
    };
    config.connect_timeout = Some(SharedClient::CONNECT);
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    // Supervision tries again, and says so; kube would wait in silence for up to a quarter of an hour.
    config.default_retry = false;
    Client::try_from(config)
        .map_err(|error| WatchError::Setup(format!("cannot make a client for [{}]: {error}", settings.id)))
}

fn read(path: &Path, context: Option<String>) -> Result<Config, kube::config::KubeconfigError> {
    let mut kubeconfig = Kubeconfig::read_from(path)?;
    kubeconfig.current_context = context.or(kubeconfig.current_context);
    Config::try_from(kubeconfig)
}

/// Why there is no usable answer.
struct Failed {
    error: WatchError,
    /// Whether a new client may do better: credentials and the server's address change in the files they come from.
    doubtful: bool,
}

async fn exchange(client: &Client, request: Request<Vec<u8>>) -> Result<Answer, Failed> {
    let response = client.send(request.map(Into::into)).await;
    let response = response.map_err(|error| Failed { error: unreachable(error), doubtful: true })?;
    let status = response.status();
    let body = response.into_body();
    match status {
        StatusCode::OK => Ok(Answer::Body(body)),
        StatusCode::GONE => Ok(Answer::Gone),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failed {
            error: WatchError::Denied(message(status, body).await),
            doubtful: status == StatusCode::UNAUTHORIZED,
        }),
        _ => Err(Failed { error: WatchError::Refused(message(status, body).await), doubtful: false }),
    }
}

/// Sorts out why there is no answer.
fn unreachable(error: kube::Error) -> WatchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<AuthError>() {
            return WatchError::Setup(format!("cannot get credentials: {error}"));
        }
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return WatchError::Timeout(SharedClient::CONNECT);
        }
        cause = error.source();
    }
    match error {
        // Its own text repeats its cause's.
        kube::Error::Service(error) => WatchError::Connect(anyhow::Error::from_boxed(error)),
        error => WatchError::connect(error),
    }
}

/// Returns what the body of a failure says, next to its status.
async fn message(status: StatusCode, body: Body) -> String {
    const LONGEST: usize = 64 << 10;
    let text = read_body(body, LONGEST).await.unwrap_or_default();
    match serde_json::from_slice::<Status>(&text) {
        Ok(said) if !said.message.is_empty() => format!("{}: {}", status.as_u16(), excerpt(&said.message)),
        _ => status.to_string(),
    }
}
