//! Reads `[forward]`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use toml::de::DeValue;

use crate::{
    config::{
        schema::{ForwardPolicy, ForwardRule, Listen, Namespace, UpstreamSpec},
        toml::{
            Item, PathBase, TableReader, duration, shorten,
            values::{self, bare_address},
        },
    },
    model::{Name, Network},
};

/// Port of plain DNS, over UDP and TCP.
const DNS_PORT: u16 = 53;

/// Port of DNS over TLS (RFC 7858 section 3.1).
const TLS_PORT: u16 = 853;

/// What a value of `[forward]` must be.
const WHAT: &str = "a resolver, such as \"10.0.0.2\", \"10.0.0.2:53\", \"tcp://10.0.0.2\", \
                    \"tls://1.1.1.1#one.one.one.one\", \"https://1.1.1.1/dns-query\" or \"system\"";

/// A suffix with the place where it stands.
pub(in crate::config) type PlacedRule<'a> = (ForwardRule, Item<'a>);

/// Reads `[forward]`; an upstream that is one of our own addresses is refused, since questions would go round.
///
/// Each with its place.
pub(super) fn forward<'a>(item: Item<'a>, listen: &Listen, base: &PathBase) -> Option<Vec<PlacedRule<'a>>> {
    let entries = item.entries("a table of suffixes and their upstreams, such as \".\" = [\"10.0.0.2\"]")?;
    let mut seen: HashMap<Name, Item<'_>> = HashMap::new();
    let mut read = Vec::new();
    for entry in entries {
        let suffix = match entry.name.parse::<Name>() {
            Ok(suffix) => suffix,
            Err(error) => {
                entry
                    .error(format!("{:?} is not a suffix to forward", shorten(entry.name)))
                    .at(entry.key)
                    .label(error.to_string())
                    .help("a suffix is a domain name in quotes, such as \"consul\", or \".\" for all names")
                    .report();
                continue;
            }
        };
        if let Some(first) = seen.insert(suffix.clone(), entry) {
            entry
                .error(format!("the suffix {:?} is there twice", suffix.to_string()))
                .at(entry.key)
                .also((first.scope.file, first.key), "first here")
                .help("names are the same in upper and lower case, and with or without a final dot")
                .report();
        }
        read.extend(rule(entry, suffix, listen, base).map(|forward| (forward, entry)));
    }
    read.sort_by_cached_key(|(forward, _)| forward.suffix.to_string());
    Some(read)
}

/// Warns of suffixes that nobody is ever asked for, since all names below them are our own.
pub(in crate::config) fn warn_of_own(
    forwards: &[PlacedRule<'_>],
    namespaces: &[Namespace],
    reverse: &[Network],
) {
    for (ForwardRule { suffix, .. }, entry) in forwards {
        let namespace = namespaces.iter().find(|namespace| suffix.is_at_or_below(&namespace.apex));
        let is_below =
            |network: &&Network| network.reverse_name().is_some_and(|apex| suffix.is_at_or_below(&apex));
        let (owner, help) = if let Some(namespace) = namespace {
            let help =
                "names of namespaces are never forwarded: take the suffix out, or rename the namespace";
            (format!("the namespace {:?}", namespace.apex.to_string()), help)
        } else if let Some(network) = reverse.iter().find(is_below) {
            let help =
                "reverse names of these networks are never forwarded: take the suffix out, or the network";
            (format!("the network \"{network}\" in \"reverse\""), help)
        } else {
            continue;
        };
        entry
            .scope
            .warning(entry.key, format!("nobody is asked for names below {:?}", suffix.to_string()))
            .label(format!("they all belong to {owner}"))
            .help(help)
            .report();
    }
}

/// Reads one suffix's value: a list of upstreams, or the long form.
fn rule(entry: Item<'_>, suffix: Name, listen: &Listen, base: &PathBase) -> Option<ForwardRule> {
    let upstreams = |item: Item<'_>| {
        item.non_empty_list("upstream", |element| upstream(element, listen)).unwrap_or_default()
    };
    if !matches!(entry.value, DeValue::Table(_)) {
        return Some(ForwardRule::new(suffix, upstreams(entry)));
    }
    let mut table = TableReader::new("a suffix to forward", &entry)?;
    let to = table.require("to", "to = [\"10.0.0.2\", \"10.0.0.3\"]").map(upstreams);
    let words = [
        ("sequential", ForwardPolicy::Sequential),
        ("round_robin", ForwardPolicy::RoundRobin),
        ("fastest", ForwardPolicy::Fastest),
    ];
    let policy = table.take("policy").and_then(|item| item.word(&words));
    let timeout = table
        .take("timeout")
        .and_then(|item| duration(item, Duration::from_millis(100), Duration::from_secs(30)));
    let tries =
        table.take("tries").and_then(|item| item.number(1, 20)).and_then(|tries| usize::try_from(tries).ok());
    let mixed_case = table.take("mixed_case").and_then(|item| item.boolean());
    let ca_file = table.take("ca_file").and_then(|item| values::path(item, base));
    table.finish();
    let default = ForwardRule::new(suffix, to?);
    Some(ForwardRule {
        policy: policy.unwrap_or(default.policy),
        timeout: timeout.unwrap_or(default.timeout),
        tries: tries.unwrap_or(default.tries),
        mixed_case: mixed_case.unwrap_or(default.mixed_case),
        ca_file,
        ..default
    })
}

fn upstream(item: Item<'_>, listen: &Listen) -> Option<UpstreamSpec> {
    let text = item.text_as(WHAT)?;
    let read = match text.split_once("://") {
        None if text == "system" => Some(UpstreamSpec::ResolvConf(UpstreamSpec::SYSTEM.into())),
        None if text.starts_with('/') => Some(UpstreamSpec::ResolvConf(text.into())),
        None => address(text, DNS_PORT).map(UpstreamSpec::Plain),
        Some(("tcp", rest)) => address(rest, DNS_PORT).map(UpstreamSpec::Tcp),
        Some(("tls", rest)) => tls(rest),
        Some(("https", _)) => https(text),
        Some(_) => None,
    };
    let Some(read) = read else { return item.must_be(WHAT).reject() };
    let (UpstreamSpec::Plain(address) | UpstreamSpec::Tcp(address)) = &read else { return Some(read) };
    if listen.dns.iter().any(|own| is_own(*own, *address)) {
        return item
            .error(format!("{text:?} is an address that this server listens on"))
            .help("questions would come back for ever: name the resolver that is to be asked")
            .reject();
    }
    Some(read)
}

/// Whether who sends to `address` sends to a socket on `own`.
fn is_own(own: SocketAddr, address: SocketAddr) -> bool {
    let reaches = address.ip().is_unspecified() || address.ip().is_loopback();
    own.port() == address.port() && (own.ip() == address.ip() || (own.ip().is_unspecified() && reaches))
}

/// Reads an IP address, with a port or without.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let read = match bare_address(text) {
        Some(ip) => SocketAddr::new(ip, port),
        None => text.parse().ok()?,
    };
    (read.port() != 0).then_some(read)
}

/// Reads `ADDRESS[:PORT][#NAME]`; without a name the certificate must have the address.
fn tls(text: &str) -> Option<UpstreamSpec> {
    let (place, name) = text.split_once('#').map_or((text, None), |(place, name)| (place, Some(name)));
    let address = address(place, TLS_PORT)?;
    let name = name.map_or_else(|| address.ip().to_string(), str::to_owned);
    rustls::pki_types::ServerName::try_from(name.as_str()).ok()?;
    Some(UpstreamSpec::Tls { address, name })
}

/// Reads a URL, with the address of its host behind a `#` or without.
fn https(text: &str) -> Option<UpstreamSpec> {
    let (url, place) = text.split_once('#').map_or((text, None), |(url, place)| (url, Some(place)));
    let parsed = reqwest::Url::parse(url).ok()?;
    let port = parsed.port_or_known_default().filter(|port| *port != 0)?;
    let address = match place {
        Some(place) => Some(SocketAddr::new(bare_address(place)?, port)),
        None => parsed
            .host_str()
            .and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok())
            .map(|ip| SocketAddr::new(ip, port)),
    };
    (!url.contains(' ')).then(|| UpstreamSpec::Https { url: url.to_owned(), address })
}
