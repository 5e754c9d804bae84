//! Values that several tables have: names, ports, sockets, TTLs, paths, labels.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeValue;

use super::{duration, table::Item};
use crate::model::{Labels, Name, Network, NetworkError, Protocol, Selector};

/// Highest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = 2_147_483_647;

/// Longest label, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Reads a domain name; relative ones are taken as fully qualified.
pub(in crate::config) fn name(item: Item<'_>) -> Option<Name> {
    const WHAT: &str = "a domain name, such as \"shop.internal\"";
    let text = item.text_as(WHAT)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => item.must_be(WHAT).label(format!("{error}")).reject(),
    }
}

/// Reads a port.
pub(in crate::config) fn port(item: Item<'_>) -> Option<u16> {
    item.number(1, u16::MAX.into()).and_then(|port| u16::try_from(port).ok())
}

/// Reads a weight.
pub(in crate::config) fn weight(item: Item<'_>) -> Option<u16> {
    item.number(0, u16::MAX.into()).and_then(|weight| u16::try_from(weight).ok())
}

/// Reads a TTL in whole seconds, as a number or as a duration.
pub(in crate::config) fn ttl(item: Item<'_>) -> Option<u32> {
    let what = format!("seconds from 0 to {MAX_TTL}, or a duration such as \"30s\"");
    let seconds = match item.value {
        DeValue::Integer(_) => item.integer().and_then(|seconds| u64::try_from(seconds).ok()),
        DeValue::String(text) => match duration::parse(text) {
            Ok(ttl) if ttl.subsec_nanos() == 0 => Some(ttl.as_secs()),
            Ok(_) => return item.must_be(&what).help("a TTL is in whole seconds").reject(),
            Err(why) => return item.must_be(&what).help(why).reject(),
        },
        _ => None,
    };
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds <= MAX_TTL).or_else(|| item.must_be(&what).reject())
}

/// Reads an address to listen on; port 0 lets the system choose one.
pub(in crate::config) fn listen_address(item: Item<'_>) -> Option<SocketAddr> {
    const WHAT: &str = "an IP address and a port, such as \"127.0.0.1:5300\"";
    let text = item.text_as(WHAT)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let draft = item.must_be(WHAT);
            match (bare_address(text), text.strip_prefix(':').or_else(|| text.strip_prefix("*:"))) {
                (Some(address), _) => {
                    let whole = SocketAddr::new(address, 5300).to_string();
                    draft.help(format!("add a port, such as {whole:?}")).reject()
                }
                (None, Some(port)) if port.parse::<u16>().is_ok() => draft
                    .help(format!(
                        "for every address of the machine write \"0.0.0.0:{port}\" and \"[::]:{port}\""
                    ))
                    .reject(),
                _ if text.starts_with("localhost:") => {
                    draft.help(format!("did you mean {:?}?", text.replace("localhost", "127.0.0.1"))).reject()
                }
                _ => draft.reject(),
            }
        }
    }
}

/// Reads an IP address without a port, v6 with or without brackets.
pub(in crate::config) fn bare_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().map(IpAddr::V6)
    })
}

/// Reads a network, or one address.
pub(in crate::config) fn network(item: Item<'_>) -> Option<Network> {
    const WHAT: &str = "a network or an IP address, such as \"10.0.0.0/8\" or \"fd00::1\"";
    let text = item.text_as(WHAT)?;
    match text.parse() {
        Ok(network) => Some(network),
        Err(NetworkError::HostBits { meant }) => item
            .must_be(WHAT)
            .label("has bits set behind the prefix")
            .help(format!("the network is {:?}; one address is written without a length", meant.to_string()))
            .reject(),
        Err(error @ NetworkError::Length { .. }) => item.must_be(WHAT).help(format!("{error}")).reject(),
        Err(NetworkError::Address) => item.must_be(WHAT).reject(),
    }
}

/// What relative paths and `~` are relative to.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct PathBase {
    /// The folder of `muster.toml`.
    pub(in crate::config) folder: PathBuf,
    /// The home folder.
    pub(in crate::config) home: Option<PathBuf>,
}

/// Reads a path; what it names need not exist.
pub(in crate::config) fn path(item: Item<'_>, base: &PathBase) -> Option<PathBuf> {
    let text = item.text_as("a path")?;
    let Some(rest) = text.strip_prefix('~') else {
        return Some(base.folder.join(text));
    };
    if !(rest.is_empty() || rest.starts_with('/')) {
        return item
            .must_be("a path")
            .help("only your own home folder can be written with ~, as \"~/...\"; write the whole path")
            .reject();
    }
    let Some(home) = &base.home else {
        return item
            .must_be("a path")
            .label("HOME is not set, so ~ says nothing")
            .help("write the whole path")
            .reject();
    };
    Some(home.join(Path::new(rest.trim_start_matches('/'))))
}

/// Reads a table of labels.
pub(in crate::config) fn labels(item: Item<'_>) -> Option<Labels> {
    let entries = item.entries("a table of texts, such as { version = \"v1\" }")?;
    let count = entries.len();
    let pairs: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry.value.as_str() {
            Some(value) => Some((entry.name, value)),
            None => entry
                .must_be("a text in quotes")
                .help("labels are texts: write numbers and true or false in quotes too")
                .reject(),
        })
        .collect();
    (pairs.len() == count).then(|| pairs.into_iter().collect())
}

/// Reads a label selector, which must not be empty: `empty` says what that would mean.
pub(in crate::config) fn selector(item: Item<'_>, empty: &str) -> Option<Selector> {
    const WHAT: &str = "a label selector, such as \"app=web,tier in (front,edge)\"";
    let Some(text) = item.value.as_str() else {
        return item.must_be(WHAT).reject();
    };
    match text.parse::<Selector>() {
        Ok(selector) if selector.is_empty() => item.must_be(WHAT).label(empty).reject(),
        Ok(selector) => Some(selector),
        Err(error) => item.must_be(WHAT).at(item.within(error.offset)).label(error.to_string()).reject(),
    }
}

/// Reads a port's name with an optional protocol: `http`, `dns/udp`.
pub(in crate::config) fn port_name(item: Item<'_>) -> Option<(Arc<str>, Protocol)> {
    const WHAT: &str = "a port's name, such as \"http\" or \"dns/udp\"";
    let text = item.text_as(WHAT)?;
    let (name, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((name, "tcp")) => (name, Protocol::Tcp),
        Some((name, "udp")) => (name, Protocol::Udp),
        Some(_) => return item.must_be(WHAT).help("the protocol is \"tcp\" or \"udp\"").reject(),
    };
    if let Some(bare) = name.strip_prefix('_') {
        return item.must_be(WHAT).help(format!("without the underscore: {bare:?}")).reject();
    }
    // The name stands behind an underscore in `_name._proto.svc` (RFC 2782).
    let good = (1..MAX_LABEL).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !good {
        return item.must_be(WHAT).help("a name has at most 62 letters, digits and inner hyphens").reject();
    }
    Some((name.to_ascii_lowercase().into(), protocol))
}

/// Reads a DNS label as Kubernetes has them (RFC 1123): lower-case letters, digits and inner hyphens.
pub(in crate::config) fn kubernetes_name(item: Item<'_>) -> Option<String> {
    let what = "a Kubernetes name";
    let text = item.text_as(what)?;
    if is_kubernetes_name(text) {
        return Some(text.to_owned());
    }
    item.must_be(what)
        .help("such names have at most 63 lower-case letters, digits and inner hyphens")
        .reject()
}

/// Tells whether `text` is a DNS label as Kubernetes has them.
pub(in crate::config) fn is_kubernetes_name(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Reads a Consul datacenter's name.
pub(in crate::config) fn datacenter(item: Item<'_>) -> Option<String> {
    const WHAT: &str = "a datacenter's name";
    let text = item.text_as(WHAT)?;
    if text.len() <= MAX_LABEL
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return Some(text.to_owned());
    }
    item.must_be(WHAT).help("such names have letters, digits, \"-\" and \"_\" only").reject()
}

/// Reads the mailbox of a SOA record: a mail address, or a name whose first label stands before the `@`.
pub(in crate::config) fn mailbox(item: Item<'_>) -> Option<Name> {
    const WHAT: &str = "a mail address, such as \"hostmaster@example.com\"";
    let text = item.text_as(WHAT)?;
    let read = match text.split_once('@') {
        None => text.parse(),
        // RFC 1035 section 8: the part before the @ is one label, whatever is in it.
        Some((local, domain)) => domain.parse().and_then(|domain: Name| domain.child(local.as_bytes())),
    };
    match read {
        Ok(name) => Some(name),
        Err(error) => item.must_be(WHAT).label(format!("{error}")).reject(),
    }
}
