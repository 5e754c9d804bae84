//! TLS and HTTPS, with an authority of the test's own.

use std::{io::Write as _, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;

/// Server names that clients sent (SNI), in the order of connections.
type Names = Arc<Mutex<Vec<Option<String>>>>;

/// A listener with a certificate for `dns.example`, and a file with its authority.
async fn listen() -> (TcpListener, TlsAcceptor, tempfile::NamedTempFile) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["dns.example".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
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
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(authority.pem().as_bytes()).unwrap();
    (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)), file)
}

/// Accepts connections until the test ends, and calls `serve` for each.
fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Send + 'static,
) -> Names {
    let names = Names::default();
    let seen = Arc::clone(&names);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                seen.lock().unwrap().push(stream.get_ref().1.server_name().map(str::to_owned));
                tokio::spawn(serve(stream));
            }
        }
    });
    names
}

fn bed(upstream: &str, authority: &Path) -> Bed {
    Bed::new(
        &format!("\".\" = {{ to = \"{upstream}\", ca_file = {authority:?}, timeout = \"2s\" }}"),
        "size = 0",
    )
}

#[tokio::test]
async fn tls_sends_sni_and_reuses_one_connection() {
    let (listener, acceptor, authority) = listen().await;
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(|query: &[u8], _| vec![answer_to(query, 60)]);
    let names = accept(listener, acceptor, move |stream| serve_stream(stream, Arc::clone(&handle)));
    let bed = bed(&format!("tls://{address}#dns.example"), authority.path());
    let asking: Vec<_> = (0..20).map(|at| query(&format!("n{at}.example."), A, None)).collect();
    let answers = futures_util::future::join_all(asking.iter().map(|packet| bed.message(packet))).await;
    assert!(answers.iter().all(|answer| answer.answers.len() == 1));
    assert_eq!(*names.lock().unwrap(), [Some("dns.example".to_owned())]);
}

#[tokio::test]
async fn answers_on_one_connection_may_come_in_any_order() {
    let (listener, acceptor, authority) = listen().await;
    let address = listener.local_addr().unwrap();
    let serve = |mut stream: TlsStream<TcpStream>| async move {
        let mut answers = Vec::new();
        while let Ok(length) = stream.read_u16().await {
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            if query.windows(11).any(|part| part == b"muster-loop") {
                continue;
            }
            answers.push(answer_to(&query, 60));
            if answers.len() == 3 {
                for answer in answers.drain(..).rev() {
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        }
    };
    let names = accept(listener, acceptor, serve);
    let bed = bed(&format!("tls://{address}#dns.example"), authority.path());
    let packets = ["a.example.", "b.example.", "c.example."].map(|name| query(name, A, None));
    let answers = futures_util::future::join_all(packets.iter().map(|packet| bed.message(packet))).await;
    for (packet, answer) in packets.iter().zip(answers) {
        assert_eq!(answer.queries, Message::from_vec(packet).unwrap().queries);
    }
    assert_eq!(names.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_closed_connection_is_replaced() {
    let (listener, acceptor, authority) = listen().await;
    let address = listener.local_addr().unwrap();
    // Answers one query on each connection, and closes it.
    let serve = |mut stream: TlsStream<TcpStream>| async move {
        let mut query = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut query).await.unwrap();
        let answer = answer_to(&query, 60);
        stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        let _ = stream.shutdown().await;
    };
    accept(listener, acceptor, serve);
    let bed = bed(&format!("tls://{address}#dns.example"), authority.path());
    for at in 0..5 {
        let answer = bed.message(&query(&format!("n{at}.example."), A, None)).await;
        assert_eq!(answer.answers.len(), 1, "{at}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_trusted() {
    let (listener, acceptor, authority) = listen().await;
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(|query: &[u8], _| vec![answer_to(query, 60)]);
    accept(listener, acceptor, move |stream| serve_stream(stream, Arc::clone(&handle)));
    for upstream in [format!("tls://{address}#other.example"), format!("tls://{address}")] {
        let bed = bed(&upstream, authority.path());
        assert_eq!(bed.ask(&query("web.example.", A, None)).await.unwrap()[3] & 0x0f, 2, "{upstream}");
    }
}

#[tokio::test]
async fn https_posts_queries_with_id_zero() {
    let (listener, acceptor, authority) = listen().await;
    let port = listener.local_addr().unwrap().port();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&requests);
    let names = accept(listener, acceptor, move |stream| serve_http(stream, Arc::clone(&seen)));
    let bed = bed(&format!("https://dns.example:{port}/dns-query#127.0.0.1"), authority.path());
    let answer = bed.message(&query("web.example.", A, None)).await;
    assert_eq!((answer.answers.len(), answer.metadata.id), (1, 77));
    let request = requests.lock().unwrap()[0].to_lowercase();
    assert!(request.starts_with("post /dns-query http/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/dns-message\r\n"), "{request}");
    assert_eq!(names.lock().unwrap()[0].as_deref(), Some("dns.example"));
}

/// Answers requests over HTTP/1.1. The ID of each query must be 0.
async fn serve_http(mut stream: TlsStream<TcpStream>, seen: Arc<Mutex<Vec<String>>>) {
    let mut received = Vec::new();
    while stream.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
        let Some(at) = received.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&received[..at + 4]).into_owned();
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.unwrap().parse().unwrap();
        let Some(query) = received.get(at + 4..at + 4 + length) else { continue };
        assert_eq!(query[..2], [0, 0]);
        let answer = answer_to(query, 60);
        seen.lock().unwrap().push(head);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(&[head.as_bytes(), &answer].concat()).await.unwrap();
        received.drain(..at + 4 + length);
    }
}

#[test]
fn an_unusable_ca_file_is_an_error_at_startup() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (path, words) in
        [(empty.path(), "it has no certificate"), (Path::new("/nowhere.pem"), "No such file")]
    {
        for upstream in ["tls://127.0.0.1#dns.example", "https://dns.example/#127.0.0.1"] {
            let settings = settings(&format!("\".\" = {{ to = \"{upstream}\", ca_file = {path:?} }}"), "");
            let error = Forwarder::new(&settings, &Arc::new(Metrics::new().unwrap())).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
