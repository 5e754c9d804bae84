//! The HTTP probe: it passes if a GET returns an expected status and, if the check has one, the
//! expected text.

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use reqwest::{Client, Response, header, redirect, retry};

use super::probe_result::ProbeResult;
use crate::config::HttpCheck;

/// Makes the client of all HTTP probes.
///
/// Every probe opens its own connection: a kept one would hide that the port is closed by now. A
/// redirect is a response like any other and is not followed, as in Route 53. Proxies from the
/// environment are ignored.
///
/// # Errors
/// When the TLS library cannot be set up. Probes never use it, but the client requires one.
pub(super) fn client() -> anyhow::Result<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let no_tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(no_tls)
        .http1_only()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// Sends one GET to `address`. The caller sets the time limit. `host` replaces the address in the
/// `Host` header.
pub(super) async fn probe(
    client: &Client,
    address: SocketAddr,
    host: Option<&str>,
    check: &HttpCheck,
) -> ProbeResult {
    let mut request =
        client.get(format!("http://{address}{}", check.path)).header(header::CONNECTION, "close");
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return failure(&error, address),
    };
    let status = response.status().as_u16();
    let (low, high) = check.status;
    if !(low..=high).contains(&status) {
        return ProbeResult::Failed(format!("http {status}, expected {low}-{high}"));
    }
    match check.body.as_deref() {
        Some(text) if !text.is_empty() => search(response, text, address).await,
        _ => ProbeResult::Passed(format!("http {status}")),
    }
}

/// Searches the first [`HttpCheck::BODY_LIMIT`] bytes of the body for `text`; the rest is never
/// read.
async fn search(mut response: Response, text: &str, address: SocketAddr) -> ProbeResult {
    let status = response.status().as_u16();
    let mut seen: Vec<u8> = Vec::with_capacity(HttpCheck::BODY_LIMIT);
    while seen.len() < HttpCheck::BODY_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let searched = seen.len().saturating_sub(text.len() - 1);
                seen.extend(chunk.iter().take(HttpCheck::BODY_LIMIT - seen.len()));
                debug_assert!(searched <= seen.len(), "the search starts within the bytes seen before");
                let fresh = seen.get(searched..).unwrap_or_default();
                if fresh.windows(text.len()).any(|window| window == text.as_bytes()) {
                    return ProbeResult::Passed(format!("http {status}, body has {text:?}"));
                }
            }
            Ok(None) => break,
            Err(error) => return failure(&error, address),
        }
    }
    ProbeResult::Failed(format!("body lacks {text:?}"))
}

/// The result of a failed request. Its innermost cause is the reason; the errors around it are
/// generic.
fn failure(error: &reqwest::Error, address: SocketAddr) -> ProbeResult {
    let mut cause: &dyn Error = error;
    loop {
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.raw_os_error().is_some()
        {
            return ProbeResult::from_io_error(error, address);
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return ProbeResult::Failed(cause.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
