//! Upstreams: one resolver each, how it is asked and how it does.

mod datagram;
mod health;
mod https;
mod stream;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tracing::{error, info, warn};

pub(super) use self::health::Health;
use self::{
    https::Https,
    stream::{Endpoint, Stream},
};
use super::{
    ask::{Form, Question},
    image::Image,
    message::{HEADER, flag, knows_no_edns, question},
};
use crate::{config, telemetry::UpstreamMetrics};

pub(super) use self::datagram::MOST_OF_RULE as MOST_SOCKETS;

/// How long the whole of an answer that was cut may take over TCP, beside a third of what is left: an upstream whose TCP is
/// dropped on the way must not take the answer that is there already.
const WHOLE_PATIENCE: Duration = Duration::from_secs(1);

/// One resolver.
#[derive(Debug)]
pub(super) struct Upstream {
    /// As it is written in the configuration, or in resolv.conf.
    label: String,
    transport: Transport,
    mixed_case: bool,
    pub(super) health: Health,
    metrics: UpstreamMetrics,
    /// Places for sockets, which all upstreams of a rule share.
    places: Arc<Semaphore>,
    /// By which its probes are known, once there was one.
    number: OnceLock<u64>,
    probing: AtomicBool,
    leads_back: AtomicBool,
}

#[derive(Debug)]
enum Transport {
    /// UDP, and TCP for what does not fit.
    Plain(std::net::SocketAddr, Stream),
    /// TCP or TLS.
    Stream(Stream),
    Https(Https),
}

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    #[error("cannot be asked")]
    Io(#[from] io::Error),
    #[error("this machine has no socket for it")]
    Local(#[source] io::Error),
    #[error("cannot be asked over HTTPS")]
    Https(#[from] reqwest::Error),
    #[error("its answer cannot be read")]
    Malformed,
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of authorities cannot be read.
    #[error("cannot read the authorities in {0:?}: {1}")]
    Authorities(PathBuf, String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTPS client cannot be made.
    #[error("cannot set up HTTPS")]
    Https(#[from] reqwest::Error),
    /// The URL cannot be read.
    #[error("cannot read the URL: {0}")]
    Url(String),
    /// The name cannot be in a certificate.
    #[error("{0:?} cannot be in a certificate")]
    Name(String),
}

impl Upstream {
    /// Makes an upstream; `None` for a file such as resolv.conf, which stands for others.
    ///
    /// # Errors
    /// When TLS cannot be set up, such as for want of the file of authorities. Nothing is contacted.
    pub(super) fn new(
        upstream: &config::Upstream,
        rule: &config::Forward,
        places: &Arc<Semaphore>,
        metrics: impl FnOnce(&str) -> UpstreamMetrics,
    ) -> Result<Option<Self>, SetupError> {
        let stream = |address, tls| Stream::new(Endpoint { address, tls });
        let transport = match upstream {
            config::Upstream::Plain(address) => Transport::Plain(*address, stream(*address, None)),
            config::Upstream::Tcp(address) => Transport::Stream(stream(*address, None)),
            config::Upstream::Tls { address, name } => {
                let name = ServerName::try_from(name.clone()).map_err(|_| SetupError::Name(name.clone()))?;
                let connector = TlsConnector::from(Arc::new(tls(rule.ca_file.as_deref())?));
                Transport::Stream(stream(*address, Some((connector, name))))
            }
            config::Upstream::Https { url, address } => {
                let authorities = rule.ca_file.as_deref().map(authorities).transpose()?;
                Transport::Https(Https::new(url, *address, authorities.as_deref())?)
            }
            config::Upstream::ResolvConf(_) => return Ok(None),
        };
        let label = upstream.to_string();
        let metrics = metrics(&label);
        metrics.set_up(true);
        Ok(Some(Self {
            label,
            transport,
            mixed_case: rule.mixed_case,
            health: Health::default(),
            metrics,
            places: Arc::clone(places),
            number: OnceLock::new(),
            probing: AtomicBool::new(false),
            leads_back: AtomicBool::new(false),
        }))
    }

    /// Its name in logs and metrics.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Whether it leads back to us, so that asking it is no use.
    pub(super) fn is_loop(&self) -> bool {
        self.leads_back.load(Ordering::Relaxed)
    }

    /// Whether it was never probed.
    pub(super) fn is_new(&self) -> bool {
        self.number.get().is_none()
    }

    /// The number by which its probes are known, if it was ever probed.
    pub(super) fn number(&self) -> Option<u64> {
        self.number.get().copied()
    }

    /// Begins a probe, unless one is on its way; [`end_probe`](Self::end_probe) must follow.
    pub(super) fn begin_probe(&self, number: impl FnOnce() -> u64) -> Option<u64> {
        let number = *self.number.get_or_init(number);
        // It no longer leads back until the probe is seen, which is before its answer.
        (!self.probing.swap(true, Ordering::Relaxed)).then(|| {
            self.leads_back.store(false, Ordering::Relaxed);
            number
        })
    }

    pub(super) fn end_probe(&self) {
        self.probing.store(false, Ordering::Relaxed);
    }

    /// Notes that its probe came back to us.
    pub(super) fn found_loop(&self) {
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
    pub(super) async fn ask(&self, question: &Question, limit: Duration) -> Result<Image, Failure> {
        let began = Instant::now();
        let asked = match timeout(limit, self.exchange(question, began + limit)).await {
            Ok(Ok(answer)) => Image::new(answer).ok_or(Failure::Malformed),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout(limit)),
        };
        match &asked {
            Ok(_) => self.answered(began.elapsed()),
            Err(failure) => self.failed(failure),
        }
        asked
    }

    /// Asks it, and without an OPT record if it does not know that.
    async fn exchange(&self, question: &Question, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let form = Form { mixed_case: self.mixed_case, edns: true };
        let answer = self.exchange_in(question, form, deadline).await?;
        if knows_no_edns(&answer) {
            return self.exchange_in(question, Form { edns: false, ..form }, deadline).await;
        }
        Ok(answer)
    }

    async fn exchange_in(
        &self,
        question: &Question,
        form: Form,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        Ok(match &self.transport {
            Transport::Plain(address, stream) => {
                let mismatch = || self.metrics.mismatch();
                let socket = datagram::socket(*address, &self.places).await.map_err(Failure::Local)?;
                let answer = datagram::exchange(&socket, *address, question, form, mismatch).await?;
                if answer.get(2).is_none_or(|flags| flags & flag::TRUNCATED == 0) {
                    return Ok(answer);
                }
                drop(socket);
                let now = Instant::now();
                let until = now + (deadline.saturating_duration_since(now) / 3).min(WHOLE_PATIENCE);
                // What fits is better than nothing: the client sees TC and may try itself.
                match timeout_at(until, stream.exchange(question, form)).await {
                    Ok(Ok(whole)) => whole,
                    Ok(Err(_)) | Err(_) => answer,
                }
            }
            Transport::Stream(stream) => stream.exchange(question, form).await?,
            Transport::Https(https) => https.exchange(question, form).await?,
        })
    }

    fn answered(&self, took: Duration) {
        self.metrics.answered(took);
        if self.health.answered(took) {
            info!(upstream = self.label, "the upstream answers again");
            self.metrics.set_up(true);
        }
    }

    fn failed(&self, failure: &Failure) {
        match failure {
            Failure::Timeout(_) => self.metrics.timed_out(),
            _ => self.metrics.failed(),
        }
        // Out of sockets is our own fault.
        if !matches!(failure, Failure::Local(_)) {
            self.missed(&failure);
        }
    }

    /// Counts a query whose answer is no longer waited for, since it is later than usual.
    pub(super) fn overtaken(&self) {
        self.metrics.timed_out();
    }

    /// Notes that it did not answer, for this reason.
    pub(super) fn missed(&self, why: &dyn std::fmt::Display) {
        if self.health.missed() {
            warn!(upstream = self.label, "put aside, and asked only where no other answers: {why}");
            self.metrics.set_up(false);
        }
    }
}

/// Tells whether `message` answers `query`: its id, that it is an answer, and the question (RFC 5452 section 9.1). Letter case
/// counts only where it was chosen at random. A server that does not know EDNS may say so with a header alone.
fn is_answer(query: &[u8], message: &[u8], form: Form) -> bool {
    let is_response = message.get(2).is_some_and(|flags| flags & (flag::RESPONSE | 0x78) == flag::RESPONSE);
    if !is_response || query.get(..2) != message.get(..2) {
        return false;
    }
    if message.len() == HEADER {
        return form.edns && message.get(4..6) == Some(&[0; 2]) && knows_no_edns(message);
    }
    let (Some(asked), Some(answered)) = (question(query), question(message)) else { return false };
    let (Some((asked, asked_type)), Some((answered, answered_type))) =
        (asked.split_last_chunk::<4>(), answered.split_last_chunk::<4>())
    else {
        return false;
    };
    // Type and class have no letter case, though some have bytes that look so.
    asked_type == answered_type
        && if form.mixed_case { asked == answered } else { asked.eq_ignore_ascii_case(answered) }
}

/// TLS settings that trust the authorities in a file, or the system's.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, SetupError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = match ca_file {
        None => builder.with_platform_verifier()?.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities(path)? {
                roots.add(CertificateDer::from(authority))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"dot".to_vec()]; // RFC 7858, as registered with IANA
    Ok(config)
}

/// The certificates in a PEM file, at least one.
fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, SetupError> {
    let unreadable = |why: String| SetupError::Authorities(path.to_owned(), why);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unreadable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable("there is no certificate in it".to_owned()));
    }
    Ok(certificates.into_iter().map(|certificate| certificate.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_an_answer_may_differ_in_letter_case() {
        const HTTPS: [u8; 2] = [0, 65];
        let query = |qtype: [u8; 2], name: &[u8]| {
            let flags = [0, 7, flag::RESPONSE, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            [&flags, name, &qtype, &[0, 1]].concat()
        };
        let asked = query(HTTPS, b"\x03web\x00");
        for (mixed_case, is_same) in [(false, true), (true, false)] {
            let form = Form { mixed_case, edns: true };
            assert!(is_answer(&asked, &asked, form));
            assert_eq!(is_answer(&asked, &query(HTTPS, b"\x03WEB\x00"), form), is_same);
            // 65 and 97 are one letter in two cases.
            assert!(!is_answer(&asked, &query([0, 97], b"\x03web\x00"), form));
        }
    }
}
