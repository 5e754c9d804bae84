//! The Consul agent or server: client, token, one HTTP exchange.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{
    Body, Certificate, Client, Identity, Response, StatusCode, Url,
    dns::{self, Resolve, Resolving},
    header::{HeaderMap, HeaderValue},
};

use tokio_util::bytes::Bytes;

use super::{
    body, connection_pool::ConnectionPool, host_names::HostNames, notices::Notices, timing::ConsulTiming,
};
use crate::{
    config::{ConsulSource, read_limited},
    source::{WatchError, watch_error::excerpt},
};

/// The agent of one source, shared by its watches.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) settings: ConsulSource,
    pub(super) timing: ConsulTiming,
    pub(super) connections: Arc<ConnectionPool>,
    pub(super) host_names: HostNames,
    pub(super) notices: Arc<Notices>,
    /// Whether a query without a token has returned entries: the anonymous token has permissions.
    anonymous_can_read: AtomicBool,
    client: Mutex<Option<(TlsFiles, Client)>>,
}

/// The contents of the TLS files that a client was made with.
#[derive(PartialEq, Eq)]
struct TlsFiles {
    authorities: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

impl std::fmt::Debug for TlsFiles {
    /// Prints no content, since there is a private key in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsFiles")
    }
}

/// Resolves every name to the host of the configured address.
///
/// With a `server_name`, URLs have that name as their host, so TLS sends it and verifies the
/// certificate against it as always. Rejected: a certificate verifier of our own, which would have
/// to repeat how the system's authorities are found.
#[derive(Clone, Debug)]
struct AddressOf {
    host: Arc<str>,
    port: u16,
}

impl AddressOf {
    fn new(address: &str) -> Result<Self, WatchError> {
        let bad = || WatchError::Setup(format!("address {address:?} has no host"));
        let url = Url::parse(address).map_err(|_| bad())?;
        let host = url.host_str().ok_or_else(bad)?.trim_matches(['[', ']']).into();
        Ok(Self { host, port: url.port_or_known_default().ok_or_else(bad)? })
    }
}

impl Resolve for AddressOf {
    fn resolve(&self, _: dns::Name) -> Resolving {
        let Self { host, port } = self.clone();
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host((&*host, port)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as dns::Addrs)
        })
    }
}

/// The HTTP client and the token of one connection attempt.
#[derive(Clone, Debug)]
pub(super) struct AgentClient {
    client: Client,
    token: Option<HeaderValue>,
}

/// One response with status 200.
#[derive(Debug, Default)]
pub(super) struct ConsulResponse {
    /// `X-Consul-Index`, not validated.
    pub(super) index: u64,
    /// `X-Consul-LastContact`: how long ago the responding server last heard from the leader.
    ///
    /// `X-Consul-KnownLeader` adds nothing to it, and an agent that answers from its stream always
    /// sends `false`.
    pub(super) lag: Duration,
    /// `X-Consul-Results-Filtered-By-ACLs`: the response lacks entries that the token may not read.
    pub(super) filtered: bool,
    /// `X-Consul-Default-Acl-Policy: deny`: a query without a token sees only what the anonymous
    /// token may read, and the response does not tell whether that is all.
    pub(super) denies_by_default: bool,
    /// How long the body took to arrive.
    pub(super) receipt: Duration,
    /// The JSON.
    pub(super) body: Bytes,
}

impl ConsulResponse {
    /// Whether there is no entry in the body.
    pub(super) fn is_empty(&self) -> bool {
        let mut body = self.body.iter().filter(|byte| !byte.is_ascii_whitespace());
        let start: [Option<&u8>; 3] = std::array::from_fn(|_| body.next());
        matches!(start, [Some(b'['), Some(b']'), None] | [Some(b'{'), Some(b'}'), None])
            || self.body.trim_ascii() == b"null"
    }
}

impl Agent {
    /// The largest body in bytes: about 50,000 instances of one service.
    const BODY_LIMIT: usize = 64 << 20;
    /// The longest token, certificate or key file, in bytes.
    const FILE_LIMIT: u64 = 1 << 20;
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    pub(super) fn new(settings: ConsulSource, timing: ConsulTiming) -> Arc<Self> {
        let connections = ConnectionPool::new(settings.max_connections, timing);
        Arc::new(Self {
            settings,
            timing,
            connections,
            host_names: HostNames::default(),
            notices: Arc::default(),
            anonymous_can_read: AtomicBool::new(false),
            client: Mutex::default(),
        })
    }

    /// The URL of an endpoint. The segments of `path` are escaped. Its host is the configured
    /// server name, which the client connects to at the configured address ([`AddressOf`]).
    ///
    /// # Errors
    /// [`WatchError::Setup`] when the configured address is not a URL.
    pub(super) fn url(&self, path: &[&str]) -> Result<Url, WatchError> {
        let bad = || {
            WatchError::Setup(format!(
                "address {:?} is not an HTTP URL; write it like \"http://127.0.0.1:8500\"",
                self.settings.address
            ))
        };
        // The host of requests over a socket means nothing.
        let base = if self.socket().is_some() { "http://localhost" } else { &self.settings.address };
        let mut url = Url::parse(base).map_err(|_| bad())?;
        url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend(path);
        if let Some(name) = &self.settings.server_name {
            url.set_host(Some(name)).map_err(|_| bad())?;
        }
        Ok(url)
    }

    /// The path of the agent's Unix socket, if it has one.
    fn socket(&self) -> Option<&Path> {
        self.settings.address.strip_prefix("unix://").map(Path::new)
    }

    /// Reads the token and the TLS files again. While the TLS files stay the same, the client and
    /// its connections are kept.
    ///
    /// # Errors
    /// [`WatchError::Setup`], naming the file that cannot be used.
    pub(super) fn client(&self) -> Result<AgentClient, WatchError> {
        let token = self.settings.token_file.as_deref().map(read_token).transpose()?;
        let files = self.read_tls_files()?;
        let mut cached = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((current, client)) = cached.as_ref()
            && *current == files
        {
            return Ok(AgentClient { client: client.clone(), token });
        }
        let client = self.build(&files)?;
        *cached = Some((files, client.clone()));
        Ok(AgentClient { client, token })
    }

    /// Checks whether an empty response means that the token is missing. Without a token Consul
    /// returns 200 and an empty list for what it denies.
    ///
    /// # Errors
    /// [`WatchError::Denied`] when no token is configured, Consul denies by default, and no query
    /// has returned an entry yet.
    pub(super) fn check_anonymous(&self, response: &ConsulResponse) -> Result<(), WatchError> {
        if self.settings.token_file.is_some() || !response.denies_by_default {
            return Ok(());
        }
        if !response.is_empty() {
            self.anonymous_can_read.store(true, Ordering::Relaxed);
        }
        if self.anonymous_can_read.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(WatchError::Denied(format!(
            "Consul denies by default and no token is configured: set token_file in [{}] to a file with an \
             ACL token",
            self.settings.id
        )))
    }

    fn read_tls_files(&self) -> Result<TlsFiles, WatchError> {
        let authorities = self.settings.ca_file.as_deref().map(read_file).transpose()?;
        let identity = match &self.settings.client_certificate {
            Some((certificate, key)) => {
                let mut pem = read_file(certificate)?;
                pem.push(b'\n');
                pem.extend(read_file(key)?);
                Some(pem)
            }
            None => None,
        };
        Ok(TlsFiles { authorities, identity })
    }

    /// Makes a client.
    ///
    /// HTTP/1.1 only: all watches would share one HTTP/2 connection, a lost peer would stop them
    /// all, and a query that times out would not close the connection. No proxy, since a local
    /// agent is not behind one. No redirects, since they would send the token to other servers.
    fn build(&self, files: &TlsFiles) -> Result<Client, WatchError> {
        let mut builder = Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Self::CONNECT_TIMEOUT)
            // Consul counts idle connections too, in addition to those in use.
            .pool_max_idle_per_host((self.settings.max_connections / 8).max(1))
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .no_proxy();
        if let Some(path) = self.socket() {
            builder = builder.unix_socket(path);
        }
        if self.settings.server_name.is_some() {
            builder = builder.dns_resolver(AddressOf::new(&self.settings.address)?);
        }
        if let (Some(pem), Some(file)) = (&files.authorities, self.settings.ca_file.as_deref()) {
            let certificates = Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| setup(file, "the file holds no PEM certificate"))?;
            builder = builder.tls_certs_only(certificates);
        } else if !self.settings.address.starts_with("https:") {
            // Without TLS, the system's certificates are not needed and may be missing.
            builder = builder.tls_certs_only([]);
        }
        if let (Some(pem), Some((file, _))) = (&files.identity, &self.settings.client_certificate) {
            let identity = Identity::from_pem(pem).map_err(|_| {
                setup(file, "this file and the key file must hold a PEM certificate and its PEM key")
            })?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            WatchError::Setup(format!("cannot set up TLS; check ca_file and client_certificate{cause}"))
        })
    }
}

impl AgentClient {
    /// How much of an error's body is read, in bytes.
    const ERROR_LIMIT: usize = 1 << 10;

    /// Queries for what has changed after `index`, and waits up to `wait` for it; an index of 0 does
    /// not wait. Beyond that, the response may take `grace` to begin and for each pause.
    ///
    /// # Errors
    /// [`WatchError::Denied`] for 401 and 403, [`WatchError::Refused`] for any other status than
    /// 200 and for a body over the limit, [`WatchError::Malformed`] for a 200 without an index,
    /// [`WatchError::Timeout`].
    pub(super) async fn get_after(
        &self,
        index: u64,
        wait: Duration,
        mut url: Url,
        grace: Duration,
    ) -> Result<ConsulResponse, WatchError> {
        if index == 0 {
            return self.get(url, grace, grace).await;
        }
        url.query_pairs_mut()
            .append_pair("index", &index.to_string())
            .append_pair("wait", &format!("{}ms", wait.as_millis()));
        // Consul adds up to a sixteenth, so that queries do not all end at once.
        self.get(url, grace + wait + wait / 16, grace).await
    }

    /// Sends one GET. The response must begin within `limit` and then not pause for longer than
    /// `silence`.
    async fn get(&self, url: Url, limit: Duration, silence: Duration) -> Result<ConsulResponse, WatchError> {
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.header("X-Consul-Token", token);
        }
        let response = tokio::time::timeout(limit, request.send()).await;
        let response = response.map_err(|_| WatchError::Timeout(limit))?;
        let mut response = response.map_err(|error| match is_other_name(&error) {
            true => WatchError::connect(anyhow::Error::new(error).context(
                "Consul's certificate is for another name; set server_name to a name in the certificate",
            )),
            false => WatchError::connect(error),
        })?;
        let began_at = Instant::now();
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(WatchError::Denied(error_text(&mut response, silence).await));
            }
            status => {
                let text = error_text(&mut response, silence).await;
                return Err(WatchError::Refused(format!("{}: {text}", status.as_u16())));
            }
        }
        let headers = response.headers();
        let index = number(headers, "X-Consul-Index").ok_or_else(|| {
            WatchError::Malformed(
                "no X-Consul-Index header; check that the address is Consul's HTTP port".into(),
            )
        })?;
        let lag = Duration::from_millis(number(headers, "X-Consul-LastContact").unwrap_or(0));
        let filtered =
            headers.get("X-Consul-Results-Filtered-By-ACLs").is_some_and(|value| value.as_bytes() == b"true");
        let denies_by_default =
            headers.get("X-Consul-Default-Acl-Policy").is_some_and(|value| value.as_bytes() == b"deny");
        let body = body::read(Body::from(response), Agent::BODY_LIMIT, silence).await?;
        Ok(ConsulResponse { index, lag, filtered, denies_by_default, receipt: began_at.elapsed(), body })
    }
}

/// The beginning of an error's body, on one line.
async fn error_text(response: &mut Response, silence: Duration) -> String {
    let mut body = Vec::new();
    while body.len() < AgentClient::ERROR_LIMIT {
        let Ok(Ok(Some(chunk))) = tokio::time::timeout(silence, response.chunk()).await else { break };
        body.extend_from_slice(&chunk);
    }
    let text = excerpt(&String::from_utf8_lossy(&body));
    if text.is_empty() { "(no text)".into() } else { text }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Whether the certificate lacks the expected name.
fn is_other_name(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |&cause| {
        // The source of an I/O error is that of the error in it.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| cause.source())
    });
    causes.filter_map(|cause| cause.downcast_ref()).any(|error: &rustls::Error| {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        matches!(error, rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
    })
}

fn setup(file: &Path, problem: &str) -> WatchError {
    WatchError::Setup(format!("cannot use {}: {problem}", file.display()))
}

fn read_file(file: &Path) -> Result<Vec<u8>, WatchError> {
    read_limited(file, Agent::FILE_LIMIT)
        .map_err(|error| WatchError::Setup(format!("cannot read {}: {error}", file.display())))
}

fn read_token(file: &Path) -> Result<HeaderValue, WatchError> {
    let bytes = read_file(file)?;
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err(setup(file, "the file is empty; write an ACL token into it"));
    }
    let mut value = HeaderValue::from_bytes(token)
        .map_err(|_| setup(file, "the file must hold one ACL token and nothing else"))?;
    value.set_sensitive(true);
    Ok(value)
}
