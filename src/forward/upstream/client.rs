//! One upstream: how to query it, and what queries have taught about it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tracing::{error, info, warn};

use super::{
    super::{
        message::{is_truncated, knows_no_edns},
        stored_answer::StoredAnswer,
        upstream_query::{QueryForm, UpstreamQuery},
    },
    datagram,
    error::{SetupError, UpstreamError},
    health::UpstreamHealth,
    https::HttpsClient,
    stream::{StreamClient, StreamEndpoint},
    tls,
};
use crate::{config, telemetry::UpstreamMetrics};

/// The longest time for the whole of a truncated answer over TCP; a third of the remaining time is
/// the other limit. An upstream whose TCP is filtered must not cost the answer that has arrived.
const WHOLE_PATIENCE: Duration = Duration::from_secs(1);

/// The client of one resolver. Its transport, health, and metrics.
#[derive(Debug)]
pub(in crate::forward) struct UpstreamClient {
    /// Its name as in the configuration, or its address in resolv.conf.
    label: String,
    transport: UpstreamTransport,
    mixed_case: bool,
    pub(in crate::forward) health: UpstreamHealth,
    metrics: UpstreamMetrics,
    /// Permits for UDP sockets, which all upstreams of a rule share.
    sockets: Arc<Semaphore>,
    was_probed: AtomicBool,
    probing: AtomicBool,
    /// Whether the probe in flight, or else the last one, came back to us.
    came_back: AtomicBool,
    /// Whether it leads to us, as far as known.
    in_loop: AtomicBool,
}

#[derive(Debug)]
enum UpstreamTransport {
    /// UDP, and TCP for truncated answers.
    Plain(SocketAddr, StreamClient),
    /// TCP or TLS.
    Stream(StreamClient),
    Https(HttpsClient),
}

impl UpstreamClient {
    /// Makes the client of an upstream. `None` for a file such as resolv.conf, which stands for
    /// others.
    ///
    /// # Errors
    /// When TLS cannot be set up, such as for a missing `ca_file`. The upstream is not contacted.
    pub(in crate::forward) fn new(
        upstream: &config::UpstreamSpec,
        rule: &config::ForwardRule,
        sockets: &Arc<Semaphore>,
        metrics: impl FnOnce(&str) -> UpstreamMetrics,
    ) -> Result<Option<Self>, SetupError> {
        let stream = |address, tls| StreamClient::new(StreamEndpoint { address, tls });
        let transport = match upstream {
            config::UpstreamSpec::Plain(address) => {
                UpstreamTransport::Plain(*address, stream(*address, None))
            }
            config::UpstreamSpec::Tcp(address) => UpstreamTransport::Stream(stream(*address, None)),
            config::UpstreamSpec::Tls { address, name } => {
                let name = ServerName::try_from(name.clone()).map_err(|_| SetupError::Name(name.clone()))?;
                let connector = TlsConnector::from(Arc::new(tls::settings(rule.ca_file.as_deref())?));
                UpstreamTransport::Stream(stream(*address, Some((connector, name))))
            }
            config::UpstreamSpec::Https { url, address } => {
                let authorities = rule.ca_file.as_deref().map(tls::authorities).transpose()?;
                UpstreamTransport::Https(HttpsClient::new(url, *address, authorities.as_deref())?)
            }
            config::UpstreamSpec::ResolvConf(_) => return Ok(None),
        };
        let label = upstream.to_string();
        let metrics = metrics(&label);
        metrics.set_up(true);
        Ok(Some(Self {
            label,
            transport,
            mixed_case: rule.mixed_case,
            health: UpstreamHealth::default(),
            metrics,
            sockets: Arc::clone(sockets),
            was_probed: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            came_back: AtomicBool::new(false),
            in_loop: AtomicBool::new(false),
        }))
    }

    /// Its name in logs and metrics.
    pub(in crate::forward) fn label(&self) -> &str {
        &self.label
    }

    /// Whether it sends our own queries back to us.
    pub(in crate::forward) fn is_loop(&self) -> bool {
        self.in_loop.load(Ordering::Relaxed)
    }

    /// Whether it was never probed.
    pub(in crate::forward) fn is_new(&self) -> bool {
        !self.was_probed.load(Ordering::Relaxed)
    }

    /// Begins a probe; false if one is in flight. [`end_probe`](Self::end_probe) must follow.
    pub(in crate::forward) fn begin_probe(&self) -> bool {
        self.was_probed.store(true, Ordering::Relaxed);
        let begins = !self.probing.swap(true, Ordering::Relaxed);
        if begins {
            // If the probe comes back, that is noted before the probe's answer arrives.
            self.came_back.store(false, Ordering::Relaxed);
        }
        begins
    }

    /// Ends a probe. If it has not come back to us, the upstream does not lead to us any more.
    pub(in crate::forward) fn end_probe(&self) {
        self.probing.store(false, Ordering::Relaxed);
        if !self.came_back.load(Ordering::Relaxed) && self.in_loop.swap(false, Ordering::Relaxed) {
            info!(upstream = self.label, "this upstream sends our queries back no longer; used again");
            self.metrics.set_up(!self.health.is_down());
        }
    }

    /// Notes that its probe came back to us.
    pub(in crate::forward) fn mark_loop(&self) {
        self.came_back.store(true, Ordering::Relaxed);
        if !self.in_loop.swap(true, Ordering::Relaxed) {
            error!(
                upstream = self.label,
                "forwarding loop: this upstream sends our queries back to us; disabled, rechecked every 30 s"
            );
            self.metrics.set_up(false);
        }
    }

    /// Queries it, and learns from an answer. Whether it has missed a query is for the caller to say,
    /// who may query it more than once for one client.
    ///
    /// # Errors
    /// When there is no answer within `limit`, or the answer is malformed.
    pub(in crate::forward) async fn query(
        &self,
        query: &UpstreamQuery,
        limit: Duration,
        is_retry: bool,
    ) -> Result<StoredAnswer, UpstreamError> {
        let began = Instant::now();
        let result = match timeout(limit, self.exchange(query, began + limit, is_retry)).await {
            Ok(Ok(message)) => StoredAnswer::new(message).ok_or(UpstreamError::Malformed),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(UpstreamError::Timeout(limit)),
        };
        match &result {
            Ok(_) => self.answered(began.elapsed()),
            Err(UpstreamError::Timeout(_)) => self.metrics.timed_out(),
            Err(_) => self.metrics.failed(),
        }
        result
    }

    /// Queries it, and again without an OPT record if it does not know EDNS.
    async fn exchange(
        &self,
        query: &UpstreamQuery,
        deadline: Instant,
        is_retry: bool,
    ) -> Result<Vec<u8>, UpstreamError> {
        let form = QueryForm { mixed_case: self.mixed_case, edns: true };
        let answer = self.exchange_as(form, query, deadline, is_retry).await?;
        if knows_no_edns(&answer) {
            return self.exchange_as(QueryForm { edns: false, ..form }, query, deadline, is_retry).await;
        }
        Ok(answer)
    }

    async fn exchange_as(
        &self,
        form: QueryForm,
        query: &UpstreamQuery,
        deadline: Instant,
        is_retry: bool,
    ) -> Result<Vec<u8>, UpstreamError> {
        match &self.transport {
            UpstreamTransport::Plain(address, stream) => {
                let mismatch = || self.metrics.mismatch();
                let socket = datagram::socket(*address, &self.sockets, is_retry).await?;
                let answer = datagram::exchange(&socket, *address, query, form, mismatch).await?;
                if !is_truncated(&answer) {
                    return Ok(answer);
                }
                drop(socket);
                let now = Instant::now();
                let until = now + (deadline.saturating_duration_since(now) / 3).min(WHOLE_PATIENCE);
                // A truncated answer is better than none: the client sees TC and may try TCP
                // itself.
                Ok(match timeout_at(until, stream.exchange(query, form)).await {
                    Ok(Ok(whole)) => whole,
                    Ok(Err(_)) | Err(_) => answer,
                })
            }
            UpstreamTransport::Stream(stream) => Ok(stream.exchange(query, form).await?),
            UpstreamTransport::Https(https) => Ok(https.exchange(query, form).await?),
        }
    }

    fn answered(&self, took: Duration) {
        self.metrics.answered(took);
        if self.health.answered(took) {
            info!(upstream = self.label, "the upstream answers again; marked up");
            self.metrics.set_up(true);
        }
    }

    /// Counts a query that was given up unanswered, after its usual time.
    pub(in crate::forward) fn overtaken(&self) {
        self.metrics.timed_out();
    }

    /// Notes that it did not answer a query, and why.
    pub(in crate::forward) fn missed(&self, why: &dyn std::fmt::Display) {
        if self.health.missed() {
            warn!(upstream = self.label, "marked down, and queried only if no other upstream answers: {why}");
            self.metrics.set_up(false);
        }
    }
}
