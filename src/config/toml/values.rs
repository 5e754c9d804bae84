//! Values that several tables have: names, ports, sockets, networks, TTLs, paths, labels.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeValue;

use super::{duration::parse_duration, sink::Read, table::Item};
use crate::model::{Labels, Name, Network, NetworkError, Protocol, Selector};

/// Highest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = 2_147_483_647;

/// Longest label, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Reads a domain name; relative names are taken as fully qualified.
pub(in crate::config) fn name(item: Item<'_>) -> Read<Name> {
    const EXPECTED: &str = "a domain name, such as \"shop.internal\"";
    let text = item.text_as(EXPECTED)?;
    text.parse().or_else(|error| item.must_be(EXPECTED).label(format!("{error}")).reject())
}

/// Reads a port.
pub(in crate::config) fn port(item: Item<'_>) -> Read<u16> {
    item.number(1, u16::MAX.into())
}

/// Reads a weight.
pub(in crate::config) fn weight(item: Item<'_>) -> Read<u16> {
    item.number(0, u16::MAX.into())
}

/// Reads a TTL in whole seconds: a number, or a duration.
pub(in crate::config) fn ttl(item: Item<'_>) -> Read<u32> {
    let expected = format!("seconds from 0 to {MAX_TTL}, or a duration such as \"30s\"");
    let seconds = match item.value {
        DeValue::Integer(_) => item.integer().and_then(|seconds| u64::try_from(seconds).ok()),
        DeValue::String(text) => match parse_duration(text) {
            Ok(ttl) if ttl.subsec_nanos() == 0 => Some(ttl.as_secs()),
            Ok(_) => return item.must_be(&expected).help("a TTL is in whole seconds").reject(),
            Err(help) => return item.must_be(&expected).help(help).reject(),
        },
        _ => None,
    };
    match seconds.and_then(|seconds| u32::try_from(seconds).ok()) {
        Some(seconds @ 0..=MAX_TTL) => Ok(seconds),
        _ => item.must_be(&expected).reject(),
    }
}

/// Reads an address to listen on; with port 0 the system chooses one.
pub(in crate::config) fn listen_address(item: Item<'_>) -> Read<SocketAddr> {
    const EXPECTED: &str = "an IP address and a port, such as \"127.0.0.1:5300\"";
    let text = item.text_as(EXPECTED)?;
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let draft = item.must_be(EXPECTED);
    match (bare_address(text), text.strip_prefix(':').or_else(|| text.strip_prefix("*:"))) {
        (Some(address), _) => {
            let whole = SocketAddr::new(address, 5300).to_string();
            draft.help(format!("add a port, such as {whole:?}")).reject()
        }
        (None, Some(port)) if port.parse::<u16>().is_ok() => draft
            .help(format!("to listen on every address, write [\"0.0.0.0:{port}\", \"[::]:{port}\"]"))
            .reject(),
        _ if text.starts_with("localhost:") => {
            draft.help(format!("did you mean {:?}?", text.replace("localhost", "127.0.0.1"))).reject()
        }
        _ => draft.reject(),
    }
}

/// Parses an IP address without a port, v6 with or without brackets.
pub(in crate::config) fn bare_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().map(IpAddr::V6)
    })
}

/// Reads a network, or one address.
pub(in crate::config) fn network(item: Item<'_>) -> Read<Network> {
    const EXPECTED: &str = "a network or an IP address, such as \"10.0.0.0/8\" or \"fd00::1\"";
    let text = item.text_as(EXPECTED)?;
    match text.parse() {
        Ok(network) => Ok(network),
        Err(NetworkError::HostBits { meant }) => item
            .must_be(EXPECTED)
            .label("has bits set after the prefix")
            .help(format!("write {:?} for the network; for one address, drop the length", meant.to_string()))
            .reject(),
        Err(error @ NetworkError::Length { .. }) => item.must_be(EXPECTED).help(format!("{error}")).reject(),
        Err(NetworkError::Address) => item.must_be(EXPECTED).reject(),
    }
}

/// The folders that relative paths and `~` start from.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct PathBase {
    /// The folder of `muster.toml`.
    pub(in crate::config) folder: PathBuf,
    /// The home folder; `None` if `HOME` is not set.
    pub(in crate::config) home: Option<PathBuf>,
}

/// Reads a path; the file need not exist.
pub(in crate::config) fn path(item: Item<'_>, base: &PathBase) -> Read<PathBuf> {
    let text = item.text_as("a path")?;
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(base.folder.join(text));
    };
    if !(rest.is_empty() || rest.starts_with('/')) {
        return item
            .must_be("a path")
            .help("~ stands for your own home folder only, as in \"~/...\"; write the whole path")
            .reject();
    }
    let Some(home) = &base.home else {
        return item
            .must_be("a path")
            .label("cannot resolve ~: HOME is not set")
            .help("write the whole path")
            .reject();
    };
    Ok(home.join(Path::new(rest.trim_start_matches('/'))))
}

/// Reads a table of labels.
pub(in crate::config) fn labels(item: Item<'_>) -> Read<Labels> {
    let mut reported = None;
    let mut labels = Vec::new();
    for entry in item.entries("a table of strings, such as { version = \"v1\" }")? {
        match entry.value.as_str() {
            Some(value) => labels.push((entry.name, value)),
            None => {
                let draft = entry.must_be("a string in quotes");
                let rejected: Read<()> =
                    draft.help("labels are strings: quote numbers, true and false too").reject();
                reported = rejected.err();
            }
        }
    }
    reported.map_or_else(|| Ok(labels.into_iter().collect()), Err)
}

/// Reads a label selector that is not empty; `empty` tells what an empty one would mean.
pub(in crate::config) fn selector(item: Item<'_>, empty: &str) -> Read<Selector> {
    const EXPECTED: &str = "a label selector, such as \"app=web,tier in (front,edge)\"";
    let Some(text) = item.value.as_str() else {
        return item.must_be(EXPECTED).reject();
    };
    match text.parse::<Selector>() {
        Ok(selector) if selector.is_empty() => item.must_be(EXPECTED).label(empty).reject(),
        Ok(selector) => Ok(selector),
        Err(error) => item.must_be(EXPECTED).at(item.within(error.offset)).label(error.to_string()).reject(),
    }
}

/// Reads a port's name with an optional protocol: `http`, `dns/udp`.
pub(in crate::config) fn port_name(item: Item<'_>) -> Read<(Arc<str>, Protocol)> {
    const EXPECTED: &str = "a port name, such as \"http\" or \"dns/udp\"";
    let text = item.text_as(EXPECTED)?;
    let (name, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((name, "tcp")) => (name, Protocol::Tcp),
        Some((name, "udp")) => (name, Protocol::Udp),
        Some(_) => return item.must_be(EXPECTED).help("the protocol is \"tcp\" or \"udp\"").reject(),
    };
    if let Some(bare) = name.strip_prefix('_') {
        return item.must_be(EXPECTED).help(format!("drop the underscore: {bare:?}")).reject();
    }
    // In `_name._proto.svc` (RFC 2782) the underscore takes one octet of the label.
    let good = (1..MAX_LABEL).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !good {
        return item.must_be(EXPECTED).help("use at most 62 letters, digits and inner hyphens").reject();
    }
    Ok((name.to_ascii_lowercase().into(), protocol))
}

/// Reads the name of a Kubernetes object: a DNS label (RFC 1123).
pub(in crate::config) fn kubernetes_name(item: Item<'_>) -> Read<String> {
    const EXPECTED: &str = "a Kubernetes name";
    let text = item.text_as(EXPECTED)?;
    if is_kubernetes_name(text) {
        return Ok(text.to_owned());
    }
    item.must_be(EXPECTED).help("use at most 63 lower-case letters, digits and inner hyphens").reject()
}

/// Whether `text` is a DNS label as Kubernetes has them: lower-case letters, digits and inner
/// hyphens.
pub(in crate::config) fn is_kubernetes_name(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Reads the name of a Consul datacenter.
pub(in crate::config) fn datacenter(item: Item<'_>) -> Read<String> {
    const EXPECTED: &str = "the name of a datacenter";
    let text = item.text_as(EXPECTED)?;
    if text.len() <= MAX_LABEL
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return Ok(text.to_owned());
    }
    item.must_be(EXPECTED).help("use at most 63 letters, digits, \"-\" and \"_\"").reject()
}

/// Reads the mailbox of a SOA record: a mail address, or a name whose first label is the local
/// part.
pub(in crate::config) fn mailbox(item: Item<'_>) -> Read<Name> {
    const EXPECTED: &str = "a mail address, such as \"hostmaster@example.com\"";
    let text = item.text_as(EXPECTED)?;
    let read = match text.split_once('@') {
        None => text.parse(),
        // RFC 1035 section 8: the part before the @ is one label, whatever is in it.
        Some((local, domain)) => domain.parse().and_then(|domain: Name| domain.child(local.as_bytes())),
    };
    read.or_else(|error| item.must_be(EXPECTED).label(format!("{error}")).reject())
}
