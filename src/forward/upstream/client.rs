//! Upstreams: one resolver each, how it is asked and how it does.

use std::{
    sync::{
        Arc, OnceLock,
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
        message::{flag, knows_no_edns},
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

/// How long the whole of an answer that was cut may take over TCP, beside a third of what is left: an upstream whose TCP is
/// dropped on the way must not take the answer that is there already.
const WHOLE_PATIENCE: Duration = Duration::from_secs(1);

/// One resolver.
#[derive(Debug)]
pub(in super::super) struct UpstreamClient {
    /// As it is written in the configuration, or in resolv.conf.
    label: String,
    transport: UpstreamTransport,
    mixed_case: bool,
    pub(in super::super) health: UpstreamHealth,
    metrics: UpstreamMetrics,
    /// Places for sockets, which all upstreams of a rule share.
    places: Arc<Semaphore>,
    /// By which its probes are known, once there was one.
    number: OnceLock<u64>,
    probing: AtomicBool,
    leads_back: AtomicBool,
}

#[derive(Debug)]
enum UpstreamTransport {
    /// UDP, and TCP for what does not fit.
    Plain(std::net::SocketAddr, StreamClient),
    /// TCP or TLS.
    Stream(StreamClient),
    Https(HttpsClient),
}

impl UpstreamClient {
    /// Makes an upstream; `None` for a file such as resolv.conf, which stands for others.
    ///
    /// # Errors
    /// When TLS cannot be set up, such as for want of the file of authorities. Nothing is contacted.
    pub(in super::super) fn new(
        upstream: &config::UpstreamSpec,
        rule: &config::ForwardRule,
        places: &Arc<Semaphore>,
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
            places: Arc::clone(places),
            number: OnceLock::new(),
            probing: AtomicBool::new(false),
            leads_back: AtomicBool::new(false),
        }))
    }

    /// Its name in logs and metrics.
    pub(in super::super) fn label(&self) -> &str {
        &self.label
    }

    /// Whether it leads back to us, so that asking it is no use.
    pub(in super::super) fn is_loop(&self) -> bool {
        self.leads_back.load(Ordering::Relaxed)
    }

    /// Whether it was never probed.
    pub(in super::super) fn is_new(&self) -> bool {
        self.number.get().is_none()
    }

    /// The number by which its probes are known, if it was ever probed.
    pub(in super::super) fn number(&self) -> Option<u64> {
        self.number.get().copied()
    }

    /// Begins a probe, unless one is on its way; [`end_probe`](Self::end_probe) must follow.
    pub(in super::super) fn begin_probe(&self, number: impl FnOnce() -> u64) -> Option<u64> {
        let number = *self.number.get_or_init(number);
        // It no longer leads back until the probe is seen, which is before its answer.
        (!self.probing.swap(true, Ordering::Relaxed)).then(|| {
            self.leads_back.store(false, Ordering::Relaxed);
            number
        })
    }

    pub(in super::super) fn end_probe(&self) {
        self.probing.store(false, Ordering::Relaxed);
    }

    /// Notes that its probe came back to us.
    pub(in super::super) fn mark_loop(&self) {
        if !self.leads_back.swap(true, Ordering::Relaxed) {
            error!(
                upstream = self.label,
                "a loop: what is sent to it comes back to this server, so it is not asked; it is tried again now and then"
            );
            self.metrics.set_up(false);
        }
    }

    /// Asks it, within `limit`; notes how it does.
    ///
    /// # Errors
    /// When there is no answer, or none that can be read.
    pub(in super::super) async fn ask(
        &self,
        query: &UpstreamQuery,
        limit: Duration,
    ) -> Result<StoredAnswer, UpstreamError> {
        let began = Instant::now();
        let asked = match timeout(limit, self.exchange(query, began + limit)).await {
            Ok(Ok(answer)) => StoredAnswer::new(answer).ok_or(UpstreamError::Malformed),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(UpstreamError::Timeout(limit)),
        };
        match &asked {
            Ok(_) => self.answered(began.elapsed()),
            Err(failure) => self.failed(failure),
        }
        asked
    }

    /// Asks it, and without an OPT record if it does not know that.
    async fn exchange(&self, query: &UpstreamQuery, deadline: Instant) -> Result<Vec<u8>, UpstreamError> {
        let form = QueryForm { mixed_case: self.mixed_case, edns: true };
        let answer = self.exchange_in(query, form, deadline).await?;
        if knows_no_edns(&answer) {
            return self.exchange_in(query, QueryForm { edns: false, ..form }, deadline).await;
        }
        Ok(answer)
    }

    async fn exchange_in(
        &self,
        query: &UpstreamQuery,
        form: QueryForm,
        deadline: Instant,
    ) -> Result<Vec<u8>, UpstreamError> {
        Ok(match &self.transport {
            UpstreamTransport::Plain(address, stream) => {
                let mismatch = || self.metrics.mismatch();
                let socket = datagram::socket(*address, &self.places).await.map_err(UpstreamError::Local)?;
                let answer = datagram::exchange(&socket, *address, query, form, mismatch).await?;
                if answer.get(2).is_none_or(|flags| flags & flag::TRUNCATED == 0) {
                    return Ok(answer);
                }
                drop(socket);
                let now = Instant::now();
                let until = now + (deadline.saturating_duration_since(now) / 3).min(WHOLE_PATIENCE);
                // What fits is better than nothing: the client sees TC and may try itself.
                match timeout_at(until, stream.exchange(query, form)).await {
                    Ok(Ok(whole)) => whole,
                    Ok(Err(_)) | Err(_) => answer,
                }
            }
            UpstreamTransport::Stream(stream) => stream.exchange(query, form).await?,
            UpstreamTransport::Https(https) => https.exchange(query, form).await?,
        })
    }

    fn answered(&self, took: Duration) {
        self.metrics.answered(took);
        if self.health.answered(took) {
            info!(upstream = self.label, "the upstream answers again");
            self.metrics.set_up(true);
        }
    }

    fn failed(&self, failure: &UpstreamError) {
        match failure {
            UpstreamError::Timeout(_) => self.metrics.timed_out(),
            _ => self.metrics.failed(),
        }
        // Out of sockets is our own fault.
        if !matches!(failure, UpstreamError::Local(_)) {
            self.missed(&failure);
        }
    }

    /// Counts a query whose answer is no longer waited for, since it is later than usual.
    pub(in super::super) fn overtaken(&self) {
        self.metrics.timed_out();
    }

    /// Notes that it did not answer, for this reason.
    pub(in super::super) fn missed(&self, why: &dyn std::fmt::Display) {
        if self.health.missed() {
            warn!(upstream = self.label, "put aside, and asked only where no other answers: {why}");
            self.metrics.set_up(false);
        }
    }
}
