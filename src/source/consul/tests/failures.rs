//! Responses that are failures, and how often muster retries.

use super::*;

#[tokio::test]
async fn after_an_error_the_index_is_ignored_and_a_reset_follows() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = Source::start_web(&consul);
    source.reset().await;
    consul.behave(Behavior::Error(500, "rpc error:\n leader lost"));
    assert_eq!(source.error("refused").await, "source returned 500: rpc error: leader lost");
    source.assert_silent();
    consul.behave(Behavior::Normal);
    assert_eq!(source.reset().await.len(), 2);
    assert!(consul.seen().iter().all(|seen| seen.get("index") != Some("1")));
}

#[tokio::test]
async fn connections_outlive_errors() {
    let consul = FakeConsul::start().await;
    consul.behave(Behavior::Error(500, "no"));
    let _source = Source::start_web(&consul);
    consul.until("several attempts", |state| state.seen.len() >= 5).await;
    let connections = consul.change(|state| state.connections);
    assert!(connections <= 2, "{connections} connections");
}

#[tokio::test]
async fn other_statuses_are_refusals_with_an_excerpt() {
    for status in [301, 400, 404, 429, 503] {
        let consul = FakeConsul::start().await;
        let long: &'static str = "x".repeat(100_000).leak();
        consul.behave(Behavior::Error(status, long));
        let mut source = Source::start_web(&consul);
        let message = source.error("refused").await;
        assert!(message.contains(&status.to_string()) && message.len() < 350, "{message}");
        source.assert_silent();
    }
}

#[tokio::test]
async fn responses_of_another_server_are_malformed() {
    for mood in [Behavior::Body(b"<html>".to_vec()), Behavior::Body(b"[{".to_vec()), Behavior::NoIndex] {
        let consul = FakeConsul::start().await;
        consul.behave(mood);
        let mut source = Source::start_web(&consul);
        source.error("malformed").await;
        source.assert_silent();
    }
}

#[tokio::test]
async fn a_service_beyond_the_limit_says_what_to_do() {
    let mut huge = vec![b' '; 64 << 20];
    huge.extend(b"[]");
    let consul = FakeConsul::start().await;
    consul.behave(Behavior::Body(huge));
    let mut source = Source::start_web(&consul);
    let message = source.error("refused").await;
    assert!(message.contains("more than 64 MiB") && message.contains("\"filter\""), "{message}");
    source.assert_silent();
}

#[tokio::test]
async fn a_hanging_server_times_out_after_wait_and_grace() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut settings = settings(&consul.address);
    settings.wait = Duration::from_millis(160);
    let timing = ConsulTiming { grace: Duration::from_secs(5), ..ConsulTiming::default() };
    let mut source = start_with(settings, timing, vec![followed(query("web"))], Vec::new());
    source.reset().await;
    consul.behave(Behavior::Hang);
    assert_eq!(source.error("timeout").await, "no response within 5.17s");
    consul.behave(Behavior::Normal);
    assert_eq!(source.reset().await, ["w0"]);
}

#[tokio::test]
async fn a_missing_server_is_a_connection_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut source = start(settings(&address), vec![followed(query("web"))], Vec::new());
    let message = source.error("connect").await;
    assert!(message.contains("refused"), "{message}");
}

#[tokio::test]
async fn a_server_that_always_returns_at_once_is_not_flooded() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    consul.behave(Behavior::Immediate);
    let started = Instant::now();
    let mut source = Source::start_web(&consul);
    source.reset().await;
    let (burst, more) = (rate_limit::RateLimit::BURST, 8);
    consul.until("more than a burst", |state| state.seen.len() >= (burst + more) as usize).await;
    // The first response is news, and the last query is charged for the one before it.
    let least = rate_limit::RateLimit::PER_FRUITLESS * (more - 2);
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    source.assert_silent();
}

#[tokio::test]
async fn a_server_that_fails_every_second_time_is_not_flooded_with_resets() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let started = Instant::now();
    let mut source = Source::start_web(&consul);
    for _ in 0..5 {
        source.reset().await;
        consul.behave(Behavior::Error(500, "no"));
        let errors = source.report().errors.get("refused").copied().unwrap_or(0);
        while source.report().errors.get("refused").copied().unwrap_or(0) == errors {
            tokio::task::yield_now().await;
        }
        consul.behave(Behavior::Normal);
    }
    source.reset().await;
    // The shortest waits are 50, 100, 200, 400 and 800 ms; five first waits would be 500 ms at
    // most.
    assert!(started.elapsed() >= Duration::from_millis(1550), "{:?}", started.elapsed());
}
