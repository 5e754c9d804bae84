//! The client: one connection pool and one set of credentials for all watches of a source.
//!
//! The client is made when it is first needed, and made again when credentials or the server's
//! address may have changed.

use std::{
    error::Error,
    io,
    path::Path,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Request, StatusCode, header::RETRY_AFTER};
use kube::{
    Client, Config,
    client::{AuthError, Body},
    config::{Kubeconfig, KubeconfigError, LoadDataError},
    core::{Status, request},
};
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use super::{connector, proxy::proxy_for};
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
    /// Permits for concurrent lists.
    lists: Semaphore,
    /// The time before which the server wants no request.
    retry_at: std::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct ClientState {
    current: Option<CurrentClient>,
    /// A client that is being made. It stays here after a watch has stopped waiting for it:
    /// otherwise each attempt would start a credential plugin that hangs once more.
    pending: Option<PendingClient>,
    /// Clients that took too long to make. Each of them still has a thread and perhaps a program.
    abandoned: Vec<JoinHandle<Result<NewClient, WatchError>>>,
}

struct PendingClient {
    begun: Instant,
    task: JoinHandle<Result<NewClient, WatchError>>,
}

struct NewClient {
    client: Client,
    /// Whether making the client runs a credential plugin.
    has_plugin: bool,
    /// When the kubeconfig was last changed before it was read.
    changed: Option<SystemTime>,
}

struct CurrentClient {
    new: NewClient,
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
    /// After this time, a client that is still being made is given up.
    const GIVE_UP: Duration = Duration::from_secs(120);
    /// With so many clients given up and still unfinished, no further one is begun.
    const MAX_ABANDONED: usize = 3;
    /// Concurrent lists. Each one holds a page in memory and costs the server a quorum read.
    const MAX_LISTS: usize = 16;
    /// The longest `Retry-After` that is honored.
    const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

    pub(super) fn new(settings: KubernetesSource, max_silence: Duration) -> Self {
        let lists = Semaphore::new(Self::MAX_LISTS);
        Self { settings, max_silence, state: Mutex::default(), lists, retry_at: std::sync::Mutex::default() }
    }

    /// Waits for the turn to list; the permit is held until the last page.
    ///
    /// # Errors
    /// None in practice: the semaphore is never closed.
    pub(super) async fn list_permit(&self) -> Result<SemaphorePermit<'_>, WatchError> {
        self.lists.acquire().await.map_err(|_| WatchError::Closed)
    }

    /// Waits while the server wants no requests (`Retry-After`).
    pub(super) async fn ready(&self) {
        let until = *self.retry_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until.filter(|until| *until > Instant::now()) {
            // Jitter, so that not all watches come back at once.
            sleep_until(until + Duration::from_millis(rand::random_range(0..=250))).await;
        }
    }

    fn retry_after(&self, wait: Duration) {
        let until = Instant::now() + wait.min(Self::MAX_RETRY_AFTER);
        let mut retry_at = self.retry_at.lock().unwrap_or_else(PoisonError::into_inner);
        *retry_at = (*retry_at).max(Some(until));
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
            response.unwrap_or(Err(ExchangeError::new(WatchError::Timeout(limit), Suspect::Connection)));
        if let Err(failed) = &response {
            if let Some(wait) = failed.retry_after {
                self.retry_after(wait);
            }
            self.suspect(&lease, failed.suspect).await;
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
            return Ok(LeasedClient { client: current.new.client.clone(), made: current.made });
        }
        self.give_up(&mut state)?;
        let pending = state.pending.get_or_insert_with(|| {
            let (settings, max_silence) = (self.settings.clone(), self.max_silence);
            // Reads files and may run a program, all of it blocking.
            let task = tokio::task::spawn_blocking(move || make_client(&settings, max_silence));
            PendingClient { begun: Instant::now(), task }
        });
        let made = (&mut pending.task).await;
        state.pending = None;
        let new = made.map_err(|error| WatchError::Setup(format!("cannot make a client: {error}")))??;
        let lease = LeasedClient { client: new.client.clone(), made: Instant::now() };
        state.current = Some(CurrentClient { new, made: lease.made, is_suspect: false });
        Ok(lease)
    }

    /// Gives up a client that has been made for too long.
    ///
    /// # Errors
    /// When too many of them are still unfinished to begin another one.
    fn give_up(&self, state: &mut ClientState) -> Result<(), WatchError> {
        state.abandoned.retain(|task| !task.is_finished());
        let is_late = |pending: &mut PendingClient| {
            pending.begun.elapsed() >= Self::GIVE_UP && !pending.task.is_finished()
        };
        if let Some(late) = state.pending.take_if(is_late) {
            state.abandoned.push(late.task);
            let (source, count) = (&self.settings.id, state.abandoned.len());
            warn!(%source, count, "gave up a credential plugin after {:?}", Self::GIVE_UP);
        }
        if state.pending.is_none() && state.abandoned.len() >= Self::MAX_ABANDONED {
            return Err(WatchError::Setup(format!(
                "{} runs of the kubeconfig's credential plugin hang; end them and check the plugin",
                state.abandoned.len()
            )));
        }
        Ok(())
    }

    /// Marks the client as suspect, unless it has been replaced already.
    ///
    /// A failed connection alone runs no credential plugin again: while the server is away, each
    /// attempt would.
    async fn suspect(&self, lease: &LeasedClient, suspect: Suspect) {
        if let Some(current) = &mut self.state.lock().await.current
            && current.made == lease.made
        {
            current.is_suspect |= match suspect {
                Suspect::Nothing => false,
                Suspect::Connection => {
                    !current.new.has_plugin || last_change(&self.settings) != current.new.changed
                }
                Suspect::Credentials => true,
            };
        }
    }
}

impl std::fmt::Debug for ClientState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientState").field("has_client", &self.current.is_some()).finish_non_exhaustive()
    }
}

impl CurrentClient {
    /// Whether the client can be used. kube refreshes tokens itself; a certificate that has expired
    /// fails the next connection, and makes the client suspect.
    fn is_usable(&self) -> bool {
        !self.is_suspect || self.made.elapsed() < SharedClient::MIN_AGE
    }
}

/// When the kubeconfig was last changed.
fn last_change(settings: &KubernetesSource) -> Option<SystemTime> {
    std::fs::metadata(settings.kubeconfig.as_ref()?).ok()?.modified().ok()
}

/// Makes a client from the kubeconfig, or from the service account of the pod that muster runs in.
fn make_client(settings: &KubernetesSource, max_silence: Duration) -> Result<NewClient, WatchError> {
    let changed = last_change(settings);
    let mut config = match &settings.kubeconfig {
        Some(path) => read_kubeconfig(path, settings.context.clone()).map_err(|problem| {
            let path = path.display();
            WatchError::Setup(format!("cannot use the kubeconfig {path} of [{}]: {problem}", settings.id))
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
    let has_plugin = config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
    match connector::client(config) {
        Ok(client) => Ok(NewClient { client, has_plugin, changed }),
        Err(error) => {
            let problem = match &error {
                kube::Error::Auth(error) => auth_problem(error),
                error => error.to_string(),
            };
            Err(WatchError::Setup(format!("cannot make a client for [{}]: {problem}", settings.id)))
        }
    }
}

/// Reads the kubeconfig. The error quotes nothing of the file: it holds credentials.
fn read_kubeconfig(path: &Path, context: Option<String>) -> Result<Config, String> {
    /// Any valid URL: with one, kube does not read the environment.
    const NO_PROXY_YET: &str = "http://proxy.invalid";
    let mut kubeconfig = Kubeconfig::read_from(path).map_err(|error| kubeconfig_problem(&error))?;
    kubeconfig.current_context = context.or(kubeconfig.current_context);
    let context = kubeconfig
        .current_context
        .as_deref()
        .and_then(|name| kubeconfig.contexts.iter().find(|context| context.name == name)?.context.as_ref());
    let cluster = context.map(|context| context.cluster.clone());
    let cluster = kubeconfig.clusters.iter_mut().find(|named| Some(&named.name) == cluster.as_ref());
    let cluster = cluster.and_then(|named| named.cluster.as_mut());
    let proxy = cluster.and_then(|cluster| cluster.proxy_url.replace(NO_PROXY_YET.to_owned()));
    let mut config = Config::try_from(kubeconfig).map_err(|error| kubeconfig_problem(&error))?;
    config.proxy_url = proxy_for(&config.cluster_url, proxy.as_deref(), |name| std::env::var(name).ok())?;
    Ok(config)
}

/// What is wrong with a kubeconfig, without a piece of it.
fn kubeconfig_problem(error: &KubeconfigError) -> String {
    let load = |key: &str, error: &LoadDataError| match error {
        LoadDataError::ReadFile(error, path) => format!("cannot read {}: {error}", path.display()),
        LoadDataError::DecodeBase64(_) => format!("{key}-data is not valid base64"),
        error => format!("{key}: {error}"),
    };
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => format!(
                "line {}, column {}: not a valid kubeconfig; check indentation and types there",
                place.line(),
                place.column()
            ),
            None => "not a valid kubeconfig".to_owned(),
        },
        KubeconfigError::LoadCertificateAuthority(error) => load("certificate-authority", error),
        KubeconfigError::LoadClientCertificate(error) => load("client-certificate", error),
        KubeconfigError::LoadClientKey(error) => load("client-key", error),
        KubeconfigError::ParseCertificates(_) => "a certificate is not valid PEM".to_owned(),
        error @ (KubeconfigError::CurrentContextNotSet
        | KubeconfigError::LoadContext(_)
        | KubeconfigError::LoadClusterOfContext(_)
        | KubeconfigError::MissingClusterUrl
        | KubeconfigError::ParseClusterUrl(_)) => error.to_string(),
        _ => "not a valid kubeconfig".to_owned(),
    }
}

/// Why there are no credentials, without a piece of them.
fn auth_problem(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => {
            let words = String::from_utf8_lossy(&out.stderr);
            format!("the credential plugin failed with {}: {}", out.status, excerpt(words.trim()))
        }
        AuthError::AuthExecParse(_) => "the credential plugin's output is no ExecCredential".to_owned(),
        AuthError::AuthExec(_) => "the credential plugin failed".to_owned(),
        AuthError::ParseTokenKey(_) => "the credential plugin's output has no token".to_owned(),
        error => error.to_string(),
    }
}

/// Why there is no usable response.
struct ExchangeError {
    error: WatchError,
    suspect: Suspect,
    /// How long the server wants no request.
    retry_after: Option<Duration>,
}

/// The part of a client that may have caused a failure.
#[derive(Clone, Copy)]
enum Suspect {
    /// The server has responded: a new client would do no better.
    Nothing,
    /// The server's address may have changed, or files with certificates.
    Connection,
    /// The credentials were not accepted.
    Credentials,
}

impl ExchangeError {
    fn new(error: WatchError, suspect: Suspect) -> Self {
        Self { error, suspect, retry_after: None }
    }
}

async fn exchange(client: &Client, request: Request<Vec<u8>>) -> Result<ApiResponse, ExchangeError> {
    let response = client.send(request.map(Into::into)).await;
    let response = response.map_err(|error| {
        // The server may have refused a client certificate that has expired.
        let suspect = if is_tls(&error) { Suspect::Credentials } else { Suspect::Connection };
        ExchangeError::new(connection_error(error), suspect)
    })?;
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = response.into_body();
    match status {
        StatusCode::OK => Ok(ApiResponse::Body(body)),
        StatusCode::GONE => Ok(ApiResponse::Gone),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let is_unknown = status == StatusCode::UNAUTHORIZED;
            let suspect = if is_unknown { Suspect::Credentials } else { Suspect::Nothing };
            Err(ExchangeError::new(WatchError::Denied(error_text(status, body).await), suspect))
        }
        _ => Err(ExchangeError {
            error: WatchError::Refused(error_text(status, body).await),
            suspect: Suspect::Nothing,
            retry_after,
        }),
    }
}

/// The seconds in `Retry-After`. The API server sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Whether a connection failed because of TLS.
fn is_tls(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The reason why there is no response, from the causes of kube's error.
fn connection_error(error: kube::Error) -> WatchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<AuthError>() {
            return WatchError::Setup(format!("cannot get credentials: {}", auth_problem(error)));
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::source::kubernetes::fake::settings;

    fn shared() -> SharedClient {
        SharedClient::new(settings(None), Duration::from_secs(100))
    }

    #[test]
    fn at_most_sixteen_lists_run_at_once() {
        let client = shared();
        let permit = || client.list_permit().now_or_never();
        let mut permits: Vec<_> = (0..16).filter_map(|_| permit()).collect();
        assert_eq!(permits.len(), 16);
        assert!(permit().is_none());
        permits.pop();
        assert!(permit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_hangs_is_given_up() {
        let client = shared();
        let mut state = ClientState::default();
        for _ in 0..SharedClient::MAX_ABANDONED {
            let task = tokio::spawn(std::future::pending());
            state.pending = Some(PendingClient { begun: Instant::now(), task });
            client.give_up(&mut state).unwrap();
            assert!(state.pending.is_some(), "not at once");
            tokio::time::advance(SharedClient::GIVE_UP).await;
            let _ = client.give_up(&mut state);
            assert!(state.pending.is_none());
        }
        let error = client.give_up(&mut state).unwrap_err().to_string();
        assert!(error.contains("3 runs"), "{error}");
        state.abandoned.remove(0).abort();
        state.abandoned[0].abort();
        tokio::task::yield_now().await;
        client.give_up(&mut state).unwrap();
    }
}
