//! Reads `check = { … }`: how static instances are probed.

use std::time::Duration;

use crate::config::{
    schema::{CheckKind, HealthCheck, HttpCheck, TlsCheck},
    toml::{Item, Read, TableReader, duration, format_duration, values, values::PathBase},
};

/// Longest time between probes.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Shortest time limit of a probe.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Longest time that a certificate may be asked to be valid for.
const MAX_VALID_FOR: Duration = Duration::from_secs(365 * 86_400);

/// Reads a health check. Relative paths begin at `base`.
pub(super) fn check(item: Item<'_>, base: &PathBase) -> Read<HealthCheck> {
    let mut table = TableReader::new("a check", &item)?;
    let kind = kind(&mut table, base);
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

fn kind(table: &mut TableReader<'_>, base: &PathBase) -> Read<CheckKind> {
    const FORMS: &str = "write { tcp = true }, { http = \"/path\" } or { https = \"/path\" }";
    let kinds = ["tcp", "http", "https"].map(|key| table.take(key));
    let of_http = ["host", "status", "body"].map(|key| table.take(key));
    let of_https = ["verify", "ca_file", "valid_for"].map(|key| table.take(key));
    let only_for = |items: [Option<Item<'_>>; 3], kind: &str, help: &str| {
        for item in items.into_iter().flatten() {
            let message = format!("{:?} is for {kind} checks only", item.name);
            item.error(message).at(item.key).help(help).report();
        }
    };
    let mut given = kinds.iter().flatten();
    if let (Some(one), Some(other)) = (given.next(), given.next()) {
        return other
            .error(format!("a check is either {} or {}, not both", one.name, other.name))
            .at(other.key)
            .also(one.key_place(), "the other one is here")
            .help(FORMS)
            .reject();
    }
    match kinds {
        [Some(tcp), ..] => {
            only_for(of_http, "http and https", "a tcp check only opens a connection");
            only_for(of_https, "https", "a tcp check only opens a connection");
            match tcp.boolean()? {
                true => Ok(CheckKind::Tcp),
                false => tcp.error("\"tcp\" must be true").help(FORMS).reject(),
            }
        }
        [None, Some(path), _] => {
            only_for(of_https, "https", "write https instead of http to have a certificate");
            http_check(path, of_http, Ok(None)).map(CheckKind::Http)
        }
        [None, None, Some(path)] => {
            let tls = tls_check(of_https, base);
            http_check(path, of_http, tls.map(Some)).map(CheckKind::Http)
        }
        [None, None, None] => Err(table.is_missing(
            ["tcp", "http", "https"],
            "a check needs \"tcp\", \"http\" or \"https\"",
            FORMS,
        )),
    }
}

fn http_check(
    path: Item<'_>,
    [host, status, body]: [Option<Item<'_>>; 3],
    tls: Read<Option<TlsCheck>>,
) -> Read<HttpCheck> {
    let path = http_path(path);
    let host = host.map(http_host).transpose();
    let status = status.map_or(Ok(HttpCheck::DEFAULT_STATUS), http_status);
    let body = body.map(|item| item.text().map(str::to_owned)).transpose();
    Ok(HttpCheck { path: path?, tls: tls?, host: host?, status: status?, body: body? })
}

/// Reads what the probe expects of the certificate. With a file of authorities, or a time that it must be
/// valid for, it has to be valid.
fn tls_check([verify, ca_file, valid_for]: [Option<Item<'_>>; 3], base: &PathBase) -> Read<TlsCheck> {
    let needs_valid = ca_file.or(valid_for);
    let ca_file = ca_file.map(|item| values::path(item, base)).transpose();
    let valid_for =
        valid_for.map_or(Ok(Duration::ZERO), |item| duration(item, Duration::ZERO, MAX_VALID_FOR));
    let is_verified = match (verify, needs_valid) {
        (None, needs_valid) => needs_valid.is_some(),
        (Some(verify), needs_valid) => match (verify.boolean()?, needs_valid) {
            (false, Some(item)) => {
                return item
                    .error(format!("{:?} needs a certificate that is verified", item.name))
                    .at(item.key)
                    .also(verify.key_place(), "but any certificate will do")
                    .help("leave out one of the two")
                    .reject();
            }
            (is_verified, _) => is_verified,
        },
    };
    let (ca_file, valid_for) = (ca_file?, valid_for?);
    Ok(if is_verified { TlsCheck::Verified { ca_file, valid_for } } else { TlsCheck::AnyCertificate })
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
