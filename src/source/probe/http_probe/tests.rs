use std::{io::Write as _, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rstest::rstest;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;

use super::{super::fake::FakeServer, *};

fn check() -> HttpCheck {
    HttpCheck {
        path: "/health?deep=1".into(),
        tls: None,
        host: None,
        status: HttpCheck::DEFAULT_STATUS,
        body: None,
    }
}

fn with_body(text: &str) -> HttpCheck {
    HttpCheck { body: Some(text.into()), ..check() }
}

async fn probe_server(server: &FakeServer, check: &HttpCheck) -> ProbeResult {
    probe(server.address, check.host.as_deref(), check).await
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
    let server = FakeServer::http(status, "").await;
    assert_eq!(probe_server(&server, &check()).await, expected);
}

#[tokio::test]
async fn the_check_sets_the_range_of_status_codes() {
    let server = FakeServer::http(418, "").await;
    let teapot = HttpCheck { status: (418, 418), ..check() };
    assert_eq!(probe_server(&server, &teapot).await, ProbeResult::Passed("http 418".into()));
}

#[tokio::test]
async fn a_redirect_is_a_response_and_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let mut server = FakeServer::raw([answer]).await;
    assert_eq!(probe_server(&server, &check()).await, ProbeResult::Passed("http 302".into()));
    assert!(server.request().await.starts_with("GET /health?deep=1 HTTP/1.1\r\n"));
    assert!(server.no_more_requests());
}

#[tokio::test]
async fn host_is_the_address_unless_the_check_sets_it() {
    let mut server = FakeServer::http(200, "").await;
    probe_server(&server, &check()).await;
    assert_eq!(server.header("host").await, server.address.to_string());
    probe_server(&server, &HttpCheck { host: Some("shop.example".into()), ..check() }).await;
    assert_eq!(server.header("host").await, "shop.example");
}

#[tokio::test]
async fn every_probe_opens_its_own_connection() {
    let server = FakeServer::keeping_alive().await;
    for _ in 0..3 {
        let result = probe(server.address, None, &check()).await;
        assert_eq!(result, ProbeResult::Passed("http 200".into()));
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn the_text_must_be_in_the_body() {
    let server = FakeServer::http(200, "all is ok here").await;
    let found = ProbeResult::Passed("http 200, body has \"ok\"".into());
    assert_eq!(probe_server(&server, &with_body("ok")).await, found);
    assert_eq!(probe_server(&server, &with_body("fine")).await, failed("body lacks \"fine\""));
}

#[tokio::test]
async fn an_empty_text_is_in_every_body() {
    let server = FakeServer::http(200, "").await;
    assert_eq!(probe_server(&server, &with_body("")).await, ProbeResult::Passed("http 200".into()));
}

#[tokio::test]
async fn a_text_split_over_two_chunks_is_found() {
    let pieces = ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234h", "ello"];
    let server = FakeServer::raw(pieces).await;
    assert!(matches!(probe_server(&server, &with_body("hello")).await, ProbeResult::Passed(_)));
}

#[rstest]
#[case::at_the_limit(HttpCheck::BODY_LIMIT - 2, true)]
#[case::one_byte_past_the_limit(HttpCheck::BODY_LIMIT - 1, false)]
#[case::far_past_the_limit(HttpCheck::BODY_LIMIT * 40, false)]
#[tokio::test]
async fn only_the_beginning_of_the_body_is_searched(#[case] at: usize, #[case] found: bool) {
    let server = FakeServer::http(200, &format!("{}ok", "-".repeat(at))).await;
    let result = probe_server(&server, &with_body("ok")).await;
    assert_eq!(matches!(result, ProbeResult::Passed(_)), found, "{result:?}");
}

#[tokio::test]
async fn an_endless_body_is_read_only_to_the_limit() {
    let server = FakeServer::endless().await;
    assert_eq!(probe_server(&server, &with_body("ok")).await, failed("body lacks \"ok\""));
    assert_eq!(probe_server(&server, &check()).await, ProbeResult::Passed("http 200".into()));
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
async fn a_response_that_breaks_off_fails_with_the_place(#[case] answer: &str, #[case] reason: &str) {
    let server = FakeServer::raw([answer]).await;
    assert_eq!(probe_server(&server, &with_body("ok")).await, failed(reason));
}

#[tokio::test]
async fn a_refused_connection_has_a_plain_reason() {
    let server = FakeServer::silent().await;
    let result = probe(server.refused(), None, &check()).await;
    assert_eq!(result, failed("connection refused"));
}

#[tokio::test]
async fn a_path_that_makes_no_url_fails_without_a_panic() {
    let server = FakeServer::silent().await;
    let odd = HttpCheck { path: "no-slash:at:all".into(), ..check() };
    assert!(matches!(probe_server(&server, &odd).await, ProbeResult::Failed(_)));
}

/// A server with a certificate for `shop.example` that is valid for some days, of an authority of its
/// own.
struct TlsServer {
    address: SocketAddr,
    authority: tempfile::NamedTempFile,
    /// The server names that clients sent.
    names: mpsc::UnboundedReceiver<Option<String>>,
}

impl TlsServer {
    async fn start(days: i64) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        params.not_after = (std::time::SystemTime::now() + Duration::from_secs(3600)).into();
        params.not_after += Duration::from_secs(86_400) * u32::try_from(days.max(0)).unwrap();
        if days < 0 {
            params.not_after = (std::time::SystemTime::now() - Duration::from_secs(3600)).into();
        }
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let mut authority = tempfile::NamedTempFile::new().unwrap();
        authority.write_all(issuer.pem().as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, names) = mpsc::unbounded_channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = seen.send(stream.get_ref().1.server_name().map(str::to_owned));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, authority, names }
    }

    async fn probe(&self, host: &str, tls: TlsCheck) -> ProbeResult {
        let check = HttpCheck { tls: Some(tls), host: Some(host.into()), ..with_body("ok") };
        probe(self.address, check.host.as_deref(), &check).await
    }

    fn verified(&self, days: u64) -> TlsCheck {
        TlsCheck::Verified {
            ca_file: Some(self.authority.path().to_owned()),
            valid_for: Duration::from_secs(days * 86_400),
        }
    }
}

#[tokio::test]
async fn any_certificate_will_do_unless_the_check_asks_for_a_valid_one() {
    let mut server = TlsServer::start(-1).await;
    let passed = ProbeResult::Passed("http 200, body has \"ok\"".into());
    assert_eq!(server.probe("other.example:8443", TlsCheck::AnyCertificate).await, passed);
    assert_eq!(server.names.recv().await, Some(Some("other.example".to_owned())), "SNI, without the port");
    let expired = server.probe("shop.example", server.verified(0)).await;
    assert!(matches!(&expired, ProbeResult::Failed(reason) if reason.contains("expired")), "{expired:?}");
}

#[tokio::test]
async fn a_certificate_must_be_of_the_authority_and_for_the_host() {
    let server = TlsServer::start(30).await;
    let passed = ProbeResult::Passed("http 200, body has \"ok\", certificate valid".into());
    assert_eq!(server.probe("shop.example", server.verified(0)).await, passed);
    let wrong_name = server.probe("other.example", server.verified(0)).await;
    assert!(
        matches!(&wrong_name, ProbeResult::Failed(reason) if reason.contains("not valid for name")),
        "{wrong_name:?}"
    );
    let foreign = TlsServer::start(30).await;
    let unknown = server.probe("shop.example", foreign.verified(0)).await;
    assert!(
        matches!(&unknown, ProbeResult::Failed(reason) if reason.contains("invalid peer certificate")),
        "{unknown:?}"
    );
}

#[rstest]
#[case(29, true)]
#[case(31, false)]
#[tokio::test]
async fn a_certificate_that_expires_soon_fails_if_the_check_says_so(#[case] days: u64, #[case] passes: bool) {
    let server = TlsServer::start(30).await;
    let result = server.probe("shop.example", server.verified(days)).await;
    assert_eq!(matches!(result, ProbeResult::Passed(_)), passes, "{result:?}");
    if !passes {
        assert_eq!(result, failed("unexpected error: the certificate expires within 31 days"));
    }
}

#[tokio::test]
async fn an_unreadable_file_of_authorities_tells_nothing_about_the_instance() {
    let server = TlsServer::start(30).await;
    let check = TlsCheck::Verified { ca_file: Some("/nonexistent/ca.pem".into()), valid_for: Duration::ZERO };
    let result = server.probe("shop.example", check).await;
    assert!(
        matches!(&result, ProbeResult::Untried(reason) if reason.contains("/nonexistent/ca.pem")),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_fails_an_https_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let check = HttpCheck { tls: Some(TlsCheck::AnyCertificate), ..check() };
    let result = probe(address, None, &check).await;
    assert!(matches!(&result, ProbeResult::Failed(reason) if reason.contains("corrupt")), "{result:?}");
}
