use rstest::rstest;

use super::{super::fake::FakeServer, *};

fn check() -> HttpCheck {
    HttpCheck { path: "/health?deep=1".into(), host: None, status: HttpCheck::DEFAULT_STATUS, body: None }
}

fn with_body(text: &str) -> HttpCheck {
    HttpCheck { body: Some(text.into()), ..check() }
}

async fn probe_server(server: &FakeServer, check: &HttpCheck) -> ProbeResult {
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
    let client = client().unwrap();
    for _ in 0..3 {
        let result = probe(&client, server.address, None, &check()).await;
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
    let result = probe(&client().unwrap(), server.refused(), None, &check()).await;
    assert_eq!(result, failed("connection refused"));
}

#[tokio::test]
async fn a_path_that_makes_no_url_fails_without_a_panic() {
    let server = FakeServer::silent().await;
    let odd = HttpCheck { path: "no-slash:at:all".into(), ..check() };
    assert!(matches!(probe_server(&server, &odd).await, ProbeResult::Failed(_)));
}
