//! TLS with a private authority and a client certificate.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

use super::*;

/// An authority that signs for both sides.
fn new_authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and key for `name`.
fn leaf(name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// Serves an empty list, but only to clients with a certificate; returns the server's address.
fn serve(authority: &CertifiedIssuer<'static, KeyPair>) -> String {
    serve_as("127.0.0.1", authority)
}

/// As [`serve`], with a certificate for `name`.
fn serve_as(name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> String {
    let (certificate, key) = leaf(name, authority);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls =
                StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
            let mut request = [0; 4096];
            // A client without a certificate fails here.
            if tls.read(&mut request).is_ok_and(|length| length > 0) {
                let response = "HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
                let _ = tls.write_all(response.as_bytes());
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    address
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn a_private_authority_and_a_client_certificate_are_used() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let authority = new_authority();
    let (certificate, key) = leaf("muster", &authority);
    let mut settings = settings(&serve(&authority));
    settings.ca_file = Some(write(folder.path(), "ca.pem", &authority.pem()));
    settings.client_certificate = Some((
        write(folder.path(), "client.pem", &certificate.pem()),
        write(folder.path(), "client-key.pem", &key.serialize_pem()),
    ));
    let mut source = start(settings.clone(), vec![followed(query("web"))], Vec::new());
    assert!(source.reset().await.is_empty());

    let mut without_certificate = settings.clone();
    without_certificate.client_certificate = None;
    let mut source = start(without_certificate, vec![followed(query("web"))], Vec::new());
    source.error("connect").await;
    source.assert_silent();

    let mut other_authority = settings;
    other_authority.ca_file = Some(write(folder.path(), "other.pem", &new_authority().pem()));
    let mut source = start(other_authority, vec![followed(query("web"))], Vec::new());
    let message = source.error("connect").await;
    assert!(message.contains("certificate"), "{message}");
    source.assert_silent();
}

#[tokio::test]
async fn the_certificate_may_have_the_configured_name() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let authority = new_authority();
    let (certificate, key) = leaf("muster", &authority);
    let mut settings = settings(&serve_as("server.dc1.consul", &authority));
    settings.ca_file = Some(write(folder.path(), "ca.pem", &authority.pem()));
    settings.client_certificate = Some((
        write(folder.path(), "client.pem", &certificate.pem()),
        write(folder.path(), "client-key.pem", &key.serialize_pem()),
    ));
    let mut source = start(settings.clone(), vec![followed(query("web"))], Vec::new());
    let message = source.error("connect").await;
    assert!(message.contains("set server_name"), "{message}");
    source.assert_silent();

    settings.server_name = Some("server.dc1.consul".into());
    let mut source = start(settings.clone(), vec![followed(query("web"))], Vec::new());
    assert!(source.reset().await.is_empty());

    settings.server_name = Some("server.dc2.consul".into());
    let mut source = start(settings, vec![followed(query("web"))], Vec::new());
    let message = source.error("connect").await;
    assert!(message.contains("set server_name"), "{message}");
}

#[tokio::test]
async fn a_tls_file_that_appears_later_is_used_without_a_restart() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let authority = new_authority();
    let (certificate, key) = leaf("muster", &authority);
    let mut settings = settings(&serve(&authority));
    let ca = folder.path().join("ca.pem");
    settings.ca_file = Some(ca.clone());
    settings.client_certificate = Some((
        write(folder.path(), "client.pem", &certificate.pem()),
        write(folder.path(), "client-key.pem", &key.serialize_pem()),
    ));
    let mut source = start(settings, vec![followed(query("web"))], Vec::new());
    assert!(source.error("setup").await.contains("ca.pem"));
    std::fs::write(&ca, "not a certificate").unwrap();
    let start = Instant::now();
    while !source.report().last_error.unwrap().message.contains("no PEM certificate") {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", source.report());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    std::fs::write(&ca, authority.pem()).unwrap();
    assert!(source.reset().await.is_empty());
}

#[tokio::test]
async fn a_tls_file_that_changes_makes_a_new_client() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("https://127.0.0.1:9");
    let ca = write(folder.path(), "ca.pem", &new_authority().pem());
    settings.ca_file = Some(ca.clone());
    let agent = Agent::new(settings, ConsulTiming::default());
    agent.client().unwrap();
    std::fs::write(&ca, "no longer a certificate").unwrap();
    assert!(agent.client().unwrap_err().to_string().contains("no PEM certificate"));
}
