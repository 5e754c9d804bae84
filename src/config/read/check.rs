//! Reads `check = { … }`: how static instances are probed.

use std::time::Duration;

use crate::config::{
    schema::{CheckKind, HealthCheck, HttpCheck},
    toml::{Item, Read, TableReader, duration, format_duration, values},
};

/// Longest time between probes.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Shortest time limit of a probe.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Reads a health check.
pub(super) fn check(item: Item<'_>) -> Read<HealthCheck> {
    let mut table = TableReader::new("a check", &item)?;
    let kind = kind(&mut table);
    let interval = table.read_or("interval", HealthCheck::DEFAULT_INTERVAL, |item| {
        duration(item, HealthCheck::MIN_INTERVAL, MAX_INTERVAL)
    });
    let default_timeout = HealthCheck::DEFAULT_TIMEOUT.min(interval);
    let timeout = table.read_or("timeout", default_timeout, |item| timeout(item, interval));
    let rise = table.read_or("rise", HealthCheck::DEFAULT_THRESHOLD, threshold);
    let fall = table.read_or("fall", HealthCheck::DEFAULT_THRESHOLD, threshold);
    let port = table.optional("port", values::port);
    table.finish();
    Ok(HealthCheck { kind: kind?, interval, timeout, rise, fall, port: port? })
}

/// Reads the timeout. It is at most the interval: one probe runs at a time.
fn timeout(item: Item<'_>, interval: Duration) -> Read<Duration> {
    let timeout = duration(item, MIN_TIMEOUT, MAX_INTERVAL)?;
    if timeout <= interval {
        return Ok(timeout);
    }
    item.error("\"timeout\" must not be longer than \"interval\"")
        .label(format!("the interval is {}", format_duration(interval)))
        .reject()
}

fn threshold(item: Item<'_>) -> Read<u32> {
    item.number(1, HealthCheck::MAX_THRESHOLD.into())
}

fn kind(table: &mut TableReader<'_>) -> Read<CheckKind> {
    const FORMS: &str = "write { tcp = true } or { http = \"/path\" }";
    let tcp = table.take("tcp");
    let http = table.take("http");
    let only_http = ["host", "status", "body"].map(|key| table.take(key));
    match (tcp, http) {
        (None, Some(path)) => http_check(path, only_http).map(CheckKind::Http),
        (Some(tcp), None) => {
            for item in only_http.into_iter().flatten() {
                let message = format!("{:?} is for http checks only", item.name);
                item.error(message).at(item.key).help("a tcp check only opens a connection").report();
            }
            match tcp.boolean()? {
                true => Ok(CheckKind::Tcp),
                false => tcp.error("\"tcp\" must be true").help(FORMS).reject(),
            }
        }
        (Some(tcp), Some(http)) => http
            .error("a check is either tcp or http, not both")
            .at(http.key)
            .also(tcp.key_place(), "the other one is here")
            .help(FORMS)
            .reject(),
        (None, None) => Err(table.is_missing(["tcp", "http"], "a check needs \"tcp\" or \"http\"", FORMS)),
    }
}

fn http_check(path: Item<'_>, [host, status, body]: [Option<Item<'_>>; 3]) -> Read<HttpCheck> {
    let path = http_path(path);
    let host = host.map(http_host).transpose();
    let status = status.map_or(Ok(HttpCheck::DEFAULT_STATUS), http_status);
    let body = body.map(|item| item.text().map(str::to_owned)).transpose();
    Ok(HttpCheck { path: path?, host: host?, status: status?, body: body? })
}

fn http_path(item: Item<'_>) -> Read<String> {
    const EXPECTED: &str = "a path, such as \"/healthz\"";
    let text = item.text_as(EXPECTED)?;
    if !text.starts_with('/') {
        let help = if text.contains("://") {
            "write the path alone: the instance has the address and port, \"host\" the Host header".to_owned()
        } else {
            format!("start it with a slash: {:?}", format!("/{text}"))
        };
        return item.must_be(EXPECTED).help(help).reject();
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return item
            .must_be(EXPECTED)
            .help("write spaces and non-ASCII characters as %XX; a path has no \"#\"")
            .reject();
    }
    Ok(text.to_owned())
}

fn http_host(item: Item<'_>) -> Read<String> {
    const EXPECTED: &str = "a Host header, such as \"shop.example\" or \"shop.example:8080\"";
    let text = item.text_as(EXPECTED)?;
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    if text.len() <= 255 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    item.must_be(EXPECTED).reject()
}

fn http_status(item: Item<'_>) -> Read<(u16, u16)> {
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
        Some((first, last)) if first <= last => Ok((first, last)),
        _ => item.must_be("a status code from 100 to 599 or a range, such as 200 or \"200-399\"").reject(),
    }
}
