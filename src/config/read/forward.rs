//! Reads `[forward]`: which upstreams external names are forwarded to.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rustls::pki_types::ServerName;
use toml::de::DeValue;

use crate::{
    config::{
        schema::{ForwardPolicy, ForwardRule, Listen, Namespace, UpstreamSpec, is_own_address},
        toml::{
            Item, Read, TableReader, duration, shorten,
            values::{self, PathBase, bare_address},
        },
    },
    model::{Name, Network},
};

/// Port of plain DNS, over UDP and TCP.
const DNS_PORT: u16 = 53;

/// Port of DNS over TLS (RFC 7858 section 3.1).
const TLS_PORT: u16 = 853;

/// Limits of `timeout`.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// The forms of an upstream, for errors.
const EXPECTED: &str = "a resolver, such as \"10.0.0.2\", \"10.0.0.2:53\", \"tcp://10.0.0.2\", \
                        \"tls://1.1.1.1#one.one.one.one\", \"https://1.1.1.1/dns-query\" or \"system\"";

/// A rule with its place.
pub(in crate::config) type PlacedRule<'a> = (ForwardRule, Item<'a>);

/// Reads `[forward]`, sorted by suffix. Refuses upstreams that are this server itself, which would
/// be a forwarding loop.
pub(super) fn forward<'a>(item: Item<'a>, listen: &Listen, base: &PathBase) -> Read<Vec<PlacedRule<'a>>> {
    let entries = item.entries("a table of suffixes and their upstreams, such as \".\" = [\"10.0.0.2\"]")?;
    let mut seen: HashMap<Name, Item<'_>> = HashMap::new();
    let mut read = Vec::new();
    for entry in entries {
        let Ok(suffix) = suffix(entry) else { continue };
        if let Some(first) = seen.insert(suffix.clone(), entry) {
            entry
                .error(format!("duplicate suffix {:?}", suffix.to_string()))
                .at(entry.key)
                .also(first.key_place(), "first defined here")
                .help("names are the same in upper and lower case, with and without a final dot")
                .report();
        }
        read.extend(rule(entry, suffix, listen, base).map(|rule| (rule, entry)));
    }
    read.sort_by_cached_key(|(rule, _)| rule.suffix.to_string());
    Ok(read)
}

fn suffix(entry: Item<'_>) -> Read<Name> {
    entry.name.parse::<Name>().or_else(|error| {
        entry
            .error(format!("{:?} is not a suffix to forward", shorten(entry.name)))
            .at(entry.key)
            .label(error.to_string())
            .help("a suffix is a domain name in quotes, such as \"consul\", or \".\" for all names")
            .reject()
    })
}

/// Warns of suffixes without effect: muster answers all names below them itself.
pub(in crate::config) fn warn_of_own(
    rules: &[PlacedRule<'_>],
    namespaces: &[Namespace],
    reverse: &[Network],
) {
    for (ForwardRule { suffix, .. }, entry) in rules {
        let namespace = namespaces.iter().find(|namespace| suffix.is_at_or_below(&namespace.apex));
        let is_below =
            |network: &&Network| network.reverse_name().is_some_and(|apex| suffix.is_at_or_below(&apex));
        let (owner, help) = if let Some(namespace) = namespace {
            let help = "names of a namespace are never forwarded: remove the suffix, or rename the namespace";
            (format!("the namespace {:?}", namespace.apex.to_string()), help)
        } else if let Some(network) = reverse.iter().find(is_below) {
            let help =
                "reverse names of these networks are never forwarded: remove the suffix, or the network";
            (format!("the network \"{network}\" in \"reverse\""), help)
        } else {
            continue;
        };
        entry
            .scope
            .warning(entry.key, format!("no name below {:?} is ever forwarded", suffix.to_string()))
            .label(format!("all of them belong to {owner}"))
            .help(help)
            .report();
    }
}

/// Reads the value of a suffix: a list of upstreams, or the long form.
fn rule(entry: Item<'_>, suffix: Name, listen: &Listen, base: &PathBase) -> Read<ForwardRule> {
    let upstreams = |item: Item<'_>| item.non_empty_list("upstream", |element| upstream(element, listen));
    if !matches!(entry.value, DeValue::Table(_)) {
        return Ok(ForwardRule::new(suffix, upstreams(entry)?));
    }
    let words = [
        ("sequential", ForwardPolicy::Sequential),
        ("round_robin", ForwardPolicy::RoundRobin),
        ("fastest", ForwardPolicy::Fastest),
    ];
    let mut table = TableReader::new("a suffix to forward", &entry)?;
    let to = table.require("to", "to = [\"10.0.0.2\", \"10.0.0.3\"]").and_then(upstreams);
    let default = ForwardRule::new(suffix, Vec::new());
    let rule = ForwardRule {
        policy: table.read_or("policy", default.policy, |item| item.word(&words)),
        timeout: table.read_or("timeout", default.timeout, |item| duration(item, MIN_TIMEOUT, MAX_TIMEOUT)),
        tries: table.read_or("tries", default.tries, |item| item.number(1, 20)),
        mixed_case: table.read_or("mixed_case", default.mixed_case, |item| item.boolean()),
        ca_file: table.read_or("ca_file", None, |item| values::path(item, base).map(Some)),
        ..default
    };
    table.finish();
    Ok(ForwardRule { upstreams: to?, ..rule })
}

fn upstream(item: Item<'_>, listen: &Listen) -> Read<UpstreamSpec> {
    let text = item.text_as(EXPECTED)?;
    let read = match text.split_once("://") {
        None if text == "system" => Some(UpstreamSpec::ResolvConf(UpstreamSpec::SYSTEM.into())),
        None if text.starts_with('/') => Some(UpstreamSpec::ResolvConf(text.into())),
        None => address(text, DNS_PORT).map(UpstreamSpec::Plain),
        Some(("tcp", rest)) => address(rest, DNS_PORT).map(UpstreamSpec::Tcp),
        Some(("tls", rest)) => tls(rest),
        Some(("https", _)) => https(text),
        Some(_) => None,
    };
    let Some(read) = read else { return item.must_be(EXPECTED).reject() };
    let (UpstreamSpec::Plain(address) | UpstreamSpec::Tcp(address)) = &read else { return Ok(read) };
    // Every machine has these addresses.
    let is_local = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    if is_own_address(&listen.dns, *address, is_local) {
        return item
            .error(format!("{text:?} is an address that this server listens on"))
            .help("queries would loop: write the address of another resolver")
            .reject();
    }
    Ok(read)
}

/// Parses an IP address, with or without a port.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let read = match bare_address(text) {
        Some(ip) => SocketAddr::new(ip, port),
        None => text.parse().ok()?,
    };
    (read.port() != 0).then_some(read)
}

/// Parses `ADDRESS[:PORT][#NAME]`; without a name the certificate must be for the address.
fn tls(text: &str) -> Option<UpstreamSpec> {
    let (place, name) = text.split_once('#').map_or((text, None), |(place, name)| (place, Some(name)));
    let address = address(place, TLS_PORT)?;
    let name = name.map_or_else(|| address.ip().to_string(), str::to_owned);
    ServerName::try_from(name.as_str()).ok()?;
    Some(UpstreamSpec::Tls { address, name })
}

/// Parses a URL, with or without the address of its host after a `#`.
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
