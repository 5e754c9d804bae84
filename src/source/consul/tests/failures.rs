//! What is no answer, and how often is asked again.

use super::*;

#[tokio::test]
async fn an_error_is_no_answer_whatever_its_index_and_the_next_answer_is_a_reset() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(2));
    let mut source = Source::of_web(&consul);
    source.reset().await;
    consul.mood(Mood::Error(500, "rpc error:\n leader lost"));
    assert_eq!(source.error("refused").await, "source returned 500: rpc error: leader lost");
    source.assert_silent();
    consul.mood(Mood::Normal);
    assert_eq!(source.reset().await.len(), 2);
    assert!(consul.seen().iter().all(|seen| seen.get("index") != Some("1")));
}

#[tokio::test]
async fn connections_outlive_errors() {
    let consul = FakeConsul::start().await;
    consul.mood(Mood::Error(500, "no"));
    let _source = Source::of_web(&consul);
    consul.until("several tries", |state| state.seen.len() >= 5).await;
    let connections = consul.change(|state| state.connections);
    assert!(connections <= 2, "{connections} connections");
}

#[tokio::test]
async fn no_permission_is_an_error_and_not_an_empty_service() {
    let consul = FakeConsul::start().await;
    consul.mood(Mood::Error(403, "Permission denied: token lacks permission 'service:read' on \"web\""));
    let mut source = Source::of_web(&consul);
    assert!(source.error("denied").await.contains("'service:read'"));
    source.assert_silent();
}

#[tokio::test]
async fn an_answer_that_acls_have_emptied_is_no_permission() {
    let consul = FakeConsul::start().await;
    consul.set("web", Vec::new());
    consul.change(|state| state.filtered = true);
    let mut source = Source::of_web(&consul);
    source.error("denied").await;
    source.assert_silent();
    consul.set("web", many(1));
    assert_eq!(source.reset().await, ["w0"], "what may be read counts");
}

#[tokio::test]
async fn other_statuses_are_refusals_and_their_text_is_cut() {
    for status in [301, 400, 404, 429, 503] {
        let consul = FakeConsul::start().await;
        let long: &'static str = "x".repeat(100_000).leak();
        consul.mood(Mood::Error(status, long));
        let mut source = Source::of_web(&consul);
        let message = source.error("refused").await;
        assert!(message.contains(&status.to_string()) && message.len() < 350, "{message}");
        source.assert_silent();
    }
}

#[tokio::test]
async fn what_is_not_consuls_answer_is_malformed() {
    let mut huge = vec![b' '; 64 << 20];
    huge.extend(b"[]");
    for mood in [Mood::Body(b"<html>".to_vec()), Mood::Body(b"[{".to_vec()), Mood::Body(huge), Mood::NoIndex]
    {
        let consul = FakeConsul::start().await;
        consul.mood(mood);
        let mut source = Source::of_web(&consul);
        source.error("malformed").await;
        source.assert_silent();
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_wait_and_slack() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let mut settings = settings(&consul.address);
    settings.wait = Duration::from_millis(160);
    let timing = Timing { slack: Duration::from_secs(5), ..Timing::default() };
    let mut source = start_with(settings, timing, vec![followed(query("web"))], Vec::new());
    source.reset().await;
    consul.mood(Mood::Hang);
    assert_eq!(source.error("timeout").await, "no response within 5.17s");
    consul.mood(Mood::Normal);
    assert_eq!(source.reset().await, ["w0"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_connection_error() {
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
    consul.mood(Mood::Immediate);
    let started = Instant::now();
    let mut source = Source::of_web(&consul);
    source.reset().await;
    let (burst, more) = (rate_limit::RateLimit::BURST as usize, 8);
    consul.until("more than a burst", |state| state.seen.len() >= burst + more).await;
    let least = Duration::from_secs_f64((more - 1) as f64 / rate_limit::RateLimit::PER_SECOND);
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    source.assert_silent();
}

#[tokio::test]
async fn a_server_that_fails_every_second_time_is_not_flooded_with_resets() {
    let consul = FakeConsul::start().await;
    consul.set("web", many(1));
    let started = Instant::now();
    let mut source = Source::of_web(&consul);
    for _ in 0..5 {
        source.reset().await;
        consul.mood(Mood::Error(500, "no"));
        let errors = source.report().errors.get("refused").copied().unwrap_or(0);
        while source.report().errors.get("refused").copied().unwrap_or(0) == errors {
            tokio::task::yield_now().await;
        }
        consul.mood(Mood::Normal);
    }
    source.reset().await;
    // The least waits are 50, 100, 200, 400 and 800 ms; five first ones would be 500 ms at most.
    assert!(started.elapsed() >= Duration::from_millis(1550), "{:?}", started.elapsed());
}
