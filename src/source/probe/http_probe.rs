//! The HTTP probe: it passes if a GET returns an expected status and, if the check has one, the
//! expected text.
//!
//! Every probe opens its own connection: a kept one would hide that the port is closed by now. A
//! redirect is a response like any other and is not followed, as in Route 53. Proxies from the
//! environment are ignored.
//!
//! Rejected: a client library with a pool. It connects to the host of the URL, but a probe connects
//! to an address and names another host.

use std::{error::Error, io, net::SocketAddr};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{certificate, probe_result::ProbeResult};
use crate::config::{HttpCheck, TlsCheck};

/// Sends one GET to `address`. The caller sets the time limit. `host` replaces the address in the
/// `Host` header, and is the server's name in TLS.
pub(super) async fn probe(address: SocketAddr, host: Option<&str>, check: &HttpCheck) -> ProbeResult {
    let request = match request(address, host, check) {
        Ok(request) => request,
        Err(error) => return ProbeResult::Failed(error.to_string()),
    };
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return ProbeResult::from_io_error(&error, address),
    };
    let result = match &check.tls {
        None => exchange(stream, request, check).await,
        Some(tls) => {
            let name = server_name(address, host);
            let settings = name.and_then(|name| Ok((name, certificate::settings(tls)?)));
            let (name, settings) = match settings {
                Ok(settings) => settings,
                Err(reason) => return ProbeResult::Untried(reason),
            };
            match TlsConnector::from(settings).connect(name, stream).await {
                Ok(stream) => exchange(stream, request, check).await,
                Err(error) => return failure(&error, address),
            }
        }
    };
    let verified = match &check.tls {
        Some(TlsCheck::Verified { .. }) => ", certificate valid",
        _ => "",
    };
    match result {
        Ok(ProbeResult::Passed(reason)) => ProbeResult::Passed(reason + verified),
        Ok(result) => result,
        Err(error) => failure(&error, address),
    }
}

fn request(
    address: SocketAddr,
    host: Option<&str>,
    check: &HttpCheck,
) -> http::Result<Request<Empty<Bytes>>> {
    let default_port = if check.tls.is_some() { 443 } else { 80 };
    let host = match host {
        Some(host) => host.to_owned(),
        None if address.port() == default_port && address.is_ipv6() => format!("[{}]", address.ip()),
        None if address.port() == default_port => address.ip().to_string(),
        None => address.to_string(),
    };
    Request::get(&check.path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .header(header::ACCEPT, "*/*")
        .header(header::USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
}

/// The server's name in TLS: the host without a port, or the address, which no client sends as SNI
/// (RFC 6066 section 3).
fn server_name(address: SocketAddr, host: Option<&str>) -> Result<ServerName<'static>, String> {
    let Some(host) = host else { return Ok(ServerName::IpAddress(address.ip().into())) };
    let without_port = match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    };
    let bare = without_port.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    ServerName::try_from(bare.to_owned()).map_err(|error| format!("{host:?} is no server name: {error}"))
}

/// Sends the request and judges the response.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Empty<Bytes>>,
    check: &HttpCheck,
) -> hyper::Result<ProbeResult> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let judged = async { judge(sender.send_request(request).await?, check).await };
    tokio::pin!(judged);
    tokio::select! {
        biased;
        result = &mut judged => result,
        // The response may have arrived before the connection ended. If not, the request knows the error.
        _ = connection => judged.await,
    }
}

async fn judge(response: Response<Incoming>, check: &HttpCheck) -> hyper::Result<ProbeResult> {
    let status = response.status().as_u16();
    let (low, high) = check.status;
    if !(low..=high).contains(&status) {
        return Ok(ProbeResult::Failed(format!("http {status}, expected {low}-{high}")));
    }
    match check.body.as_deref() {
        Some(text) if !text.is_empty() => Ok(match has_text(response.into_body(), text).await? {
            true => ProbeResult::Passed(format!("http {status}, body has {text:?}")),
            false => ProbeResult::Failed(format!("body lacks {text:?}")),
        }),
        _ => Ok(ProbeResult::Passed(format!("http {status}"))),
    }
}

/// Searches the first [`HttpCheck::BODY_LIMIT`] bytes of the body for `text`; the rest is never
/// read.
async fn has_text<B: Body<Data = Bytes> + Unpin>(mut body: B, text: &str) -> Result<bool, B::Error> {
    let mut seen: Vec<u8> = Vec::with_capacity(HttpCheck::BODY_LIMIT);
    while seen.len() < HttpCheck::BODY_LIMIT {
        let Some(frame) = body.frame().await.transpose()? else { return Ok(false) };
        let Ok(chunk) = frame.into_data() else { continue };
        let searched = seen.len().saturating_sub(text.len() - 1);
        seen.extend(chunk.iter().take(HttpCheck::BODY_LIMIT - seen.len()));
        debug_assert!(searched <= seen.len(), "the search starts within the bytes seen before");
        let fresh = seen.get(searched..).unwrap_or_default();
        if fresh.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The result of a failed request. Its innermost cause is the reason; the errors around it are
/// generic.
fn failure(error: &(dyn Error + 'static), address: SocketAddr) -> ProbeResult {
    let mut cause = error;
    loop {
        let io_error = cause.downcast_ref::<io::Error>();
        if let Some(error) = io_error.filter(|error| error.raw_os_error().is_some()) {
            return ProbeResult::from_io_error(error, address);
        }
        // An error in an I/O error is not its source, but what it shows as.
        let inner = io_error.and_then(|error| error.get_ref()).map(|inner| inner as &(dyn Error + 'static));
        match inner.or_else(|| cause.source()) {
            Some(inner) => cause = inner,
            None => return ProbeResult::Failed(cause.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
