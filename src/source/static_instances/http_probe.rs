//! The HTTP probe: a GET is answered with the right status and, if asked for, the right text.

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use reqwest::{Client, Response, header, redirect, retry};

use super::probe_result::ProbeResult;
use crate::config::HttpCheck;

/// Makes the client of all HTTP probes.
///
/// Every probe opens a connection of its own, else one that is kept open would hide that nobody listens any more.
/// Redirects are answers, not followed, as in Route 53. Proxies of the environment are not used.
///
/// # Errors
/// When the TLS library cannot be set up; probes never use it, but the client wants one.
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

/// Sends one GET to `address`; the caller sets the time limit. `host` stands in for the address in the `Host` header.
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
        Err(error) => return finding(&error),
    };
    let status = response.status().as_u16();
    let (low, high) = check.status;
    if !(low..=high).contains(&status) {
        return ProbeResult::Failed(format!("http {status}, expected {low}-{high}"));
    }
    match check.body.as_deref() {
        Some(text) if !text.is_empty() => search(response, text).await,
        _ => ProbeResult::Passed(format!("http {status}")),
    }
}

/// Looks for `text` in the first [`HttpCheck::BODY_LIMIT`] bytes of the body; the rest is never read.
async fn search(mut response: Response, text: &str) -> ProbeResult {
    let status = response.status().as_u16();
    let mut seen: Vec<u8> = Vec::with_capacity(HttpCheck::BODY_LIMIT);
    while seen.len() < HttpCheck::BODY_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let searched = seen.len().saturating_sub(text.len() - 1);
                seen.extend(chunk.iter().take(HttpCheck::BODY_LIMIT - seen.len()));
                let fresh = seen.get(searched..).unwrap_or_default();
                if fresh.windows(text.len()).any(|window| window == text.as_bytes()) {
                    return ProbeResult::Passed(format!("http {status}, body has {text:?}"));
                }
            }
            Ok(None) => break,
            Err(error) => return finding(&error),
        }
    }
    ProbeResult::Failed(format!("body lacks {text:?}"))
}

/// What a failed request says about the instance: its innermost cause, which is the one that tells.
fn finding(error: &reqwest::Error) -> ProbeResult {
    let mut cause: &dyn Error = error;
    loop {
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.raw_os_error().is_some()
        {
            return ProbeResult::of(error);
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return ProbeResult::Failed(cause.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{super::fake::Server, *};

    fn check() -> HttpCheck {
        HttpCheck { path: "/health?deep=1".into(), host: None, status: HttpCheck::DEFAULT_STATUS, body: None }
    }

    fn with_body(text: &str) -> HttpCheck {
        HttpCheck { body: Some(text.into()), ..check() }
    }

    async fn ask(server: &Server, check: &HttpCheck) -> ProbeResult {
        probe(&client().unwrap(), server.address, check.host.as_deref(), check).await
    }

    fn failed(reason: &str) -> ProbeResult {
        ProbeResult::Failed(reason.into())
    }

    #[rstest]
    #[case(200, ProbeResult::Passed("http 200".into()))]
    #[case(204, ProbeResult::Passed("http 204".into()))]
    #[case(399, ProbeResult::Passed("http 399".into()))]
    #[case(400, failed("http 400, expected 200-399"))]
    #[case(503, failed("http 503, expected 200-399"))]
    #[tokio::test]
    async fn the_status_decides(#[case] status: u16, #[case] expected: ProbeResult) {
        let server = Server::http(status, "").await;
        assert_eq!(ask(&server, &check()).await, expected);
    }

    #[tokio::test]
    async fn the_range_of_status_codes_is_the_checks_own() {
        let server = Server::http(418, "").await;
        let teapot = HttpCheck { status: (418, 418), ..check() };
        assert_eq!(ask(&server, &teapot).await, ProbeResult::Passed("http 418".into()));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let answer = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
        let mut server = Server::raw([answer]).await;
        assert_eq!(ask(&server, &check()).await, ProbeResult::Passed("http 302".into()));
        assert!(server.request().await.starts_with("GET /health?deep=1 HTTP/1.1\r\n"));
        assert!(server.no_more_requests());
    }

    #[tokio::test]
    async fn host_is_the_address_unless_the_check_has_one() {
        let mut server = Server::http(200, "").await;
        ask(&server, &check()).await;
        assert_eq!(server.header("host").await, server.address.to_string());
        ask(&server, &HttpCheck { host: Some("shop.example".into()), ..check() }).await;
        assert_eq!(server.header("host").await, "shop.example");
    }

    #[tokio::test]
    async fn every_probe_opens_a_connection_of_its_own() {
        let server = Server::keeping_alive().await;
        let client = client().unwrap();
        for _ in 0..3 {
            let finding = probe(&client, server.address, None, &check()).await;
            assert_eq!(finding, ProbeResult::Passed("http 200".into()));
        }
        assert_eq!(server.connections(), 3);
    }

    #[tokio::test]
    async fn the_text_must_be_in_the_body() {
        let server = Server::http(200, "all is ok here").await;
        let found = ProbeResult::Passed("http 200, body has \"ok\"".into());
        assert_eq!(ask(&server, &with_body("ok")).await, found);
        assert_eq!(ask(&server, &with_body("fine")).await, failed("body lacks \"fine\""));
    }

    #[tokio::test]
    async fn an_empty_text_is_in_every_body() {
        let server = Server::http(200, "").await;
        assert_eq!(ask(&server, &with_body("")).await, ProbeResult::Passed("http 200".into()));
    }

    #[tokio::test]
    async fn a_text_that_comes_in_two_pieces_is_found() {
        let pieces = ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234h", "ello"];
        let server = Server::raw(pieces).await;
        assert!(matches!(ask(&server, &with_body("hello")).await, ProbeResult::Passed(_)));
    }

    #[rstest]
    #[case::the_last_place_that_counts(HttpCheck::BODY_LIMIT - 2, true)]
    #[case::one_byte_too_late(HttpCheck::BODY_LIMIT - 1, false)]
    #[case::far_behind(HttpCheck::BODY_LIMIT * 40, false)]
    #[tokio::test]
    async fn only_the_beginning_of_the_body_is_searched(#[case] at: usize, #[case] found: bool) {
        let server = Server::http(200, &format!("{}ok", "-".repeat(at))).await;
        let finding = ask(&server, &with_body("ok")).await;
        assert_eq!(matches!(finding, ProbeResult::Passed(_)), found, "{finding:?}");
    }

    #[tokio::test]
    async fn a_body_without_end_is_not_read_to_its_end() {
        let server = Server::endless().await;
        assert_eq!(ask(&server, &with_body("ok")).await, failed("body lacks \"ok\""));
        assert_eq!(ask(&server, &check()).await, ProbeResult::Passed("http 200".into()));
    }

    #[rstest]
    #[case::before_the_answer("", "connection closed before message completed")]
    #[case::in_the_head("HTTP/1.1 200 OK\r\nConten", "connection closed before message completed")]
    #[case::in_the_body(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot yet",
        "end of file before message length reached"
    )]
    #[case::no_http_at_all("SSH-2.0-OpenSSH_9.2\r\n", "invalid HTTP version parsed")]
    #[tokio::test]
    async fn an_answer_that_breaks_off_fails_and_says_where(#[case] answer: &str, #[case] reason: &str) {
        let server = Server::raw([answer]).await;
        assert_eq!(ask(&server, &with_body("ok")).await, failed(reason));
    }

    #[tokio::test]
    async fn a_refused_connection_is_named_plainly() {
        let server = Server::silent().await;
        let finding = probe(&client().unwrap(), server.refused(), None, &check()).await;
        assert_eq!(finding, failed("connection refused"));
    }

    #[tokio::test]
    async fn a_path_that_makes_no_url_fails_instead_of_panicking() {
        let server = Server::silent().await;
        let odd = HttpCheck { path: "no-slash:at:all".into(), ..check() };
        assert!(matches!(ask(&server, &odd).await, ProbeResult::Failed(_)));
    }
}
