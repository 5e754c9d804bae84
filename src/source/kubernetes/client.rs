//! The client: one connection pool and one set of credentials for all watches of a source.
//!
//! The client is made when it is first needed, and made again when credentials or the server's
//! address may have changed.

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

/// The client that all watches of a source share.
#[derive(Debug)]
pub(super) struct SharedClient {
    settings: KubernetesSource,
    /// How long a connection may be silent.
    max_silence: Duration,
    state: Mutex<ClientState>,
}

#[derive(Default)]
struct ClientState {
    current: Option<CurrentClient>,
    /// A client that is being made. It stays here after a watch has stopped waiting for it:
    /// otherwise each attempt would start a credential plugin that hangs once more.
    pending: Option<JoinHandle<Result<Client, WatchError>>>,
}

struct CurrentClient {
    client: Client,
    made: Instant,
    /// A request failed in a way that a new client could mend.
    is_suspect: bool,
}

/// A client for one request. The time when it was made tells it from later ones.
#[derive(Clone)]
pub(super) struct LeasedClient {
    client: Client,
    made: Instant,
}

/// A response that is not a failure.
pub(super) enum ApiResponse {
    /// HTTP 200, and a body to read.
    Body(Body),
    /// HTTP 410: the requested version or page has expired.
    Gone,
}

impl SharedClient {
    /// How long opening a connection may take, TLS included.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long making a client may take; credential plugins may call remote services.
    const MAKE_TIMEOUT: Duration = Duration::from_secs(60);
    /// A suspect client younger than this is kept, so that many failing watches make one new
    /// client.
    const MIN_AGE: Duration = Duration::from_secs(2);
    /// How long before its certificate expires a client is replaced, in seconds.
    const EXPIRY_MARGIN: i64 = 60;

    pub(super) fn new(settings: KubernetesSource, max_silence: Duration) -> Self {
        Self { settings, max_silence, state: Mutex::default() }
    }

    /// Sends a request and waits for the head of the response for at most `limit`.
    ///
    /// # Errors
    /// When there is no client, no connection, no response in time, or a response that is neither
    /// 200 nor 410.
    pub(super) async fn get(
        &self,
        request: Result<Request<Vec<u8>>, request::Error>,
        limit: Duration,
    ) -> Result<ApiResponse, WatchError> {
        let request =
            request.map_err(|error| WatchError::Setup(format!("cannot build the request: {error}")))?;
        let lease = self.lease().await?;
        let response = timeout(limit, exchange(&lease.client, request)).await;
        let response =
            response.unwrap_or(Err(ExchangeError { error: WatchError::Timeout(limit), is_suspect: true }));
        if matches!(response, Err(ExchangeError { is_suspect: true, .. })) {
            self.suspect(&lease).await;
        }
        response.map_err(|failed| failed.error)
    }

    /// Returns the current client, or makes one.
    async fn lease(&self) -> Result<LeasedClient, WatchError> {
        timeout(Self::MAKE_TIMEOUT, self.current_or_new()).await.map_err(|_| {
            WatchError::Setup(format!(
                "no credentials within {:?}; check the kubeconfig's credential plugin",
                Self::MAKE_TIMEOUT
            ))
        })?
    }

    async fn current_or_new(&self) -> Result<LeasedClient, WatchError> {
        let mut state = self.state.lock().await;
        if let Some(current) = state.current.as_ref().filter(|current| current.is_usable()) {
            return Ok(LeasedClient { client: current.client.clone(), made: current.made });
        }
        let pending = state.pending.get_or_insert_with(|| {
            let (settings, max_silence) = (self.settings.clone(), self.max_silence);
            // Reads files and may run a program, all of it blocking.
            tokio::task::spawn_blocking(move || make_client(&settings, max_silence))
        });
        let made = pending.await;
        state.pending = None;
        let client = made.map_err(|error| WatchError::Setup(format!("cannot make a client: {error}")))??;
        let lease = LeasedClient { client, made: Instant::now() };
        state.current =
            Some(CurrentClient { client: lease.client.clone(), made: lease.made, is_suspect: false });
        Ok(lease)
    }

    /// Marks the client as suspect, unless it has been replaced already.
    async fn suspect(&self, lease: &LeasedClient) {
        if let Some(current) = &mut self.state.lock().await.current
            && current.made == lease.made
        {
            current.is_suspect = true;
        }
    }
}

impl std::fmt::Debug for ClientState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientState").field("has_client", &self.current.is_some()).finish_non_exhaustive()
    }
}

impl CurrentClient {
    fn is_usable(&self) -> bool {
        let is_suspect = self.is_suspect && self.made.elapsed() >= SharedClient::MIN_AGE;
        // Only clients with a certificate from a plugin have an expiry; kube refreshes tokens
        // itself.
        let expires_soon = self.client.valid_until().as_ref().is_some_and(|until| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            until.as_second() - SharedClient::EXPIRY_MARGIN
                <= i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
        });
        !is_suspect && !expires_soon
    }
}

/// Makes a client from the kubeconfig, or from the service account of the pod that muster runs in.
fn make_client(settings: &KubernetesSource, max_silence: Duration) -> Result<Client, WatchError> {
    let mut config = match &settings.kubeconfig {
        Some(path) => read_kubeconfig(path, settings.context.clone()).map_err(|error| {
            let path = path.display();
            WatchError::Setup(format!("cannot use the kubeconfig {path} of [{}]: {error}", settings.id))
        })?,
        None => Config::incluster().map_err(|error| {
            WatchError::Setup(format!(
                "[{}] has no kubeconfig, and muster runs in no pod with a service account: {error}",
                settings.id
            ))
        })?,
    };
    config.connect_timeout = Some(SharedClient::CONNECT_TIMEOUT);
    config.read_timeout = Some(max_silence);
    config.reset_reader_on_write = true;
    // Supervision retries and logs it; kube would wait silently for up to a quarter of an hour.
    config.default_retry = false;
    Client::try_from(config)
        .map_err(|error| WatchError::Setup(format!("cannot make a client for [{}]: {error}", settings.id)))
}

fn read_kubeconfig(path: &Path, context: Option<String>) -> Result<Config, kube::config::KubeconfigError> {
    let mut kubeconfig = Kubeconfig::read_from(path)?;
    kubeconfig.current_context = context.or(kubeconfig.current_context);
    Config::try_from(kubeconfig)
}

/// Why there is no usable response.
struct ExchangeError {
    error: WatchError,
    /// Whether a new client may do better: credentials and the server's address can change in the
    /// files that they are read from.
    is_suspect: bool,
}

async fn exchange(client: &Client, request: Request<Vec<u8>>) -> Result<ApiResponse, ExchangeError> {
    let response = client.send(request.map(Into::into)).await;
    let response =
        response.map_err(|error| ExchangeError { error: connection_error(error), is_suspect: true })?;
    let status = response.status();
    let body = response.into_body();
    match status {
        StatusCode::OK => Ok(ApiResponse::Body(body)),
        StatusCode::GONE => Ok(ApiResponse::Gone),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ExchangeError {
            error: WatchError::Denied(error_text(status, body).await),
            is_suspect: status == StatusCode::UNAUTHORIZED,
        }),
        _ => Err(ExchangeError {
            error: WatchError::Refused(error_text(status, body).await),
            is_suspect: false,
        }),
    }
}

/// The reason why there is no response, from the causes of kube's error.
fn connection_error(error: kube::Error) -> WatchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<AuthError>() {
            return WatchError::Setup(format!("cannot get credentials: {error}"));
        }
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return WatchError::Timeout(SharedClient::CONNECT_TIMEOUT);
        }
        cause = error.source();
    }
    match error {
        // Its text repeats that of its cause.
        kube::Error::Service(error) => WatchError::Connect(anyhow::Error::from_boxed(error)),
        error => WatchError::connect(error),
    }
}

/// The status of a failure and the message in its body.
async fn error_text(status: StatusCode, body: Body) -> String {
    const LIMIT: usize = 64 << 10;
    let body = read_body(body, LIMIT).await.unwrap_or_default();
    match serde_json::from_slice::<Status>(&body) {
        Ok(details) if !details.message.is_empty() => {
            format!("{}: {}", status.as_u16(), excerpt(&details.message))
        }
        _ => status.to_string(),
    }
}
