//! `check = { … }`: how static instances are probed.

use std::time::Duration;

use crate::config::{
    schema::{CheckKind, HealthCheck, HttpCheck},
    toml::{Item, TableReader, duration, show_duration, values},
};

/// Longest time between probes.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Shortest time that a probe may be given.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Reads a check.
pub(super) fn check(item: Item<'_>) -> Option<HealthCheck> {
    let mut table = TableReader::new("a check", &item)?;
    let kind = kind(&mut table);
    let interval =
        table.take("interval").and_then(|item| duration(item, HealthCheck::MIN_INTERVAL, MAX_INTERVAL));
    let interval = interval.unwrap_or(HealthCheck::DEFAULT_INTERVAL);
    let timeout = table.take("timeout").and_then(|item| timeout(item, interval));
    let rise = table.take("rise").and_then(threshold).unwrap_or(HealthCheck::DEFAULT_THRESHOLD);
    let fall = table.take("fall").and_then(threshold).unwrap_or(HealthCheck::DEFAULT_THRESHOLD);
    let port = table.take("port").and_then(values::port);
    table.finish();
    let timeout = timeout.unwrap_or(HealthCheck::DEFAULT_TIMEOUT.min(interval));
    Some(HealthCheck { kind: kind?, interval, timeout, rise, fall, port })
}

/// Reads the timeout, which must not be longer than the interval: one probe at a time.
fn timeout(item: Item<'_>, interval: Duration) -> Option<Duration> {
    let timeout = duration(item, MIN_TIMEOUT, MAX_INTERVAL)?;
    if timeout <= interval {
        return Some(timeout);
    }
    item.error("\"timeout\" must not be longer than \"interval\"")
        .label(format!("the interval is {}", show_duration(interval)))
        .reject()
}

fn threshold(item: Item<'_>) -> Option<u32> {
    item.number(1, HealthCheck::MAX_THRESHOLD.into()).and_then(|count| u32::try_from(count).ok())
}

fn kind(table: &mut TableReader<'_>) -> Option<CheckKind> {
    const FORMS: &str = "write { tcp = true } or { http = \"/path\" }";
    let tcp = table.take("tcp");
    let http = table.take("http");
    let only_http = ["host", "status", "body"].map(|key| table.take(key));
    match (tcp, http) {
        (None, Some(path)) => http_check(path, only_http),
        (Some(tcp), None) => {
            for item in only_http.into_iter().flatten() {
                let message = format!("{:?} is for http checks only", item.name);
                item.error(message).at(item.key).help("a tcp check only opens a connection").report();
            }
            match tcp.boolean() {
                Some(true) => Some(CheckKind::Tcp),
                Some(false) => tcp.error("\"tcp\" must be true").help(FORMS).reject(),
                None => None,
            }
        }
        (Some(tcp), Some(http)) => http
            .error("a check is either tcp or http, not both")
            .at(http.key)
            .also((tcp.scope.file, tcp.key), "the other one is here")
            .help(FORMS)
            .reject(),
        (None, None) => {
            table.lacks(["tcp", "http"], "a check needs \"tcp\" or \"http\"", FORMS);
            None
        }
    }
}

fn http_check(path: Item<'_>, [host, status, body]: [Option<Item<'_>>; 3]) -> Option<CheckKind> {
    let path = http_path(path);
    let host = host.and_then(http_host);
    let status = status.and_then(http_status).unwrap_or(HttpCheck::DEFAULT_STATUS);
    let body = body.and_then(|item| item.text()).map(str::to_owned);
    Some(CheckKind::Http(HttpCheck { path: path?, host, status, body }))
}

fn http_path(item: Item<'_>) -> Option<String> {
    const WHAT: &str = "a path, such as \"/healthz\"";
    let text = item.text_as(WHAT)?;
    if !text.starts_with('/') {
        let help = if text.contains("://") {
            "only the path: address and port are the instance's, the Host header is \"host\"".to_owned()
        } else {
            format!("begin it with a slash: {:?}", format!("/{text}"))
        };
        return item.must_be(WHAT).help(help).reject();
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return item
            .must_be(WHAT)
            .help("write spaces and characters outside of ASCII as %XX; a path has no \"#\"")
            .reject();
    }
    Some(text.to_owned())
}

fn http_host(item: Item<'_>) -> Option<String> {
    const WHAT: &str = "a Host header, such as \"shop.example\" or \"shop.example:8080\"";
    let text = item.text_as(WHAT)?;
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    if text.len() <= 255 && text.bytes().all(good) {
        return Some(text.to_owned());
    }
    item.must_be(WHAT).reject()
}

fn http_status(item: Item<'_>) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let code: u16 = text.trim().parse().ok()?;
        (100..=599).contains(&code).then_some(code)
    };
    let range = match (item.value.as_integer(), item.value.as_str()) {
        (Some(number), _) => code(number.as_str()).filter(|_| number.radix() == 10).map(|code| (code, code)),
        (None, Some(text)) => match text.split_once('-') {
            Some((first, last)) => code(first).zip(code(last)),
            None => code(text).map(|code| (code, code)),
        },
        (None, None) => None,
    };
    match range {
        Some((first, last)) if first <= last => Some((first, last)),
        _ => item
            .must_be("a status code from 100 to 599 or a range of them, such as 200 or \"200-399\"")
            .reject(),
    }
}
