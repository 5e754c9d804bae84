//! Reads `[consul.NAME]` and `[kubernetes.NAME]`: where instances come from.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;
use rustls::pki_types::ServerName;

use super::guard::guard;
use crate::{
    config::{
        schema::{ConsulSource, KubernetesSource},
        toml::{
            Item, Read, TableReader, duration, list, shorten,
            values::{self, PathBase},
        },
    },
    model::{SourceId, SourceKind, nearest},
};

/// Longest name of a source, in bytes: the name is a label of metrics.
const MAX_NAME: usize = 63;

/// Limits of `wait` and `max_lag`.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MIN_MAX_LAG: Duration = Duration::from_millis(1);
const MAX_MAX_LAG: Duration = Duration::from_secs(3600);

/// Every source of `muster.toml`.
#[derive(Debug)]
pub(in crate::config) struct DeclaredSources {
    /// Sorted by id.
    pub(in crate::config) consul: Vec<ConsulSource>,
    /// Sorted by id.
    pub(in crate::config) kubernetes: Vec<KubernetesSource>,
    /// The ids of all sources, those that are wrong too.
    ids: Vec<SourceId>,
    /// `Err` if `muster.toml` could not be read to its end, so that there may be more sources.
    complete: Read<()>,
}

impl DeclaredSources {
    /// Reads the name of a source of any kind; `static` stands for the instances in zone files.
    pub(super) fn get_any(&self, item: Item<'_>) -> Read<SourceId> {
        let name = item.text_as("the name of a source in muster.toml, or \"static\"")?;
        let in_files = SourceId::static_source();
        let mut found = self.ids.iter().chain([&in_files]).filter(|id| id.name.as_ref() == name);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(one), Some(other)) => item
                .error(format!("{:?} is the name of two sources, {one} and {other}", shorten(name)))
                .help(match other.kind {
                    SourceKind::Static => {
                        "\"static\" is the source of the instances in zone files: rename the other one"
                            .to_owned()
                    }
                    _ => format!("write consul = {name:?} or kubernetes = {name:?}"),
                })
                .reject(),
            (None, _) => {
                self.complete?;
                let names: Vec<_> = self.ids.iter().chain([&in_files]).map(|id| id.name.as_ref()).collect();
                let help = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("the sources are {}", list(&names, "and")),
                };
                item.error(format!("unknown source {:?}", shorten(name))).help(help).reject()
            }
        }
    }

    /// Reads the name of a source of `kind`, which must be in `muster.toml`.
    pub(super) fn get(&self, item: Item<'_>, kind: SourceKind) -> Read<SourceId> {
        let kind_name = kind.as_str();
        let name = item.text_as(&format!("the name of a {kind_name} source in muster.toml"))?;
        let id = SourceId { kind, name: name.into() };
        if self.complete.is_err() || self.ids.contains(&id) {
            return Ok(id);
        }
        let names: Vec<_> = self.ids.iter().filter(|id| id.kind == kind).map(|id| id.name.as_ref()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => {
                let known = match names.as_slice() {
                    [] => format!("muster.toml has no {kind_name} sources"),
                    names => format!("the {kind_name} sources in muster.toml are {}", list(names, "and")),
                };
                let add = if is_name(name) { format!("; add [{kind_name}.{name}]") } else { String::new() };
                known + &add
            }
        };
        item.error(format!("unknown {kind_name} source {:?}", shorten(name))).help(help).reject()
    }
}

/// Reads the tables of all kinds of sources.
pub(super) fn sources(table: &mut TableReader<'_>, base: &PathBase) -> DeclaredSources {
    let mut sources = DeclaredSources {
        consul: Vec::new(),
        kubernetes: Vec::new(),
        ids: Vec::new(),
        complete: table.scope.sink.check_unbroken(table.scope.file),
    };
    for (id, item) in named_tables(table.take("consul"), SourceKind::Consul) {
        sources.ids.push(id.clone());
        sources.consul.extend(consul(id, item, base));
    }
    for (id, item) in named_tables(table.take("kubernetes"), SourceKind::Kubernetes) {
        sources.ids.push(id.clone());
        sources.kubernetes.extend(kubernetes(id, item, base));
    }
    sources.consul.sort_by(|a, b| a.id.cmp(&b.id));
    sources.kubernetes.sort_by(|a, b| a.id.cmp(&b.id));
    sources
}

fn named_tables(item: Option<Item<'_>>, kind: SourceKind) -> Vec<(SourceId, Item<'_>)> {
    let Some(item) = item else { return Vec::new() };
    let entries = item.entries(&format!("a table of sources, such as [{}.vms]", kind.as_str()));
    entries.unwrap_or_default().into_iter().filter_map(|entry| named_table(entry, kind).ok()).collect()
}

fn named_table(entry: Item<'_>, kind: SourceKind) -> Read<(SourceId, Item<'_>)> {
    if !is_name(entry.name) {
        return entry
            .error(format!("{:?} is not a name for a source", shorten(entry.name)))
            .at(entry.key)
            .help("use at most 63 letters, digits, \"-\" and \"_\"")
            .reject();
    }
    if entry.value.as_table().is_none() {
        return entry
            .error(format!("{:?} must be a table", entry.name))
            .help(format!("a source has a name: write [{}.vms] above its keys", kind.as_str()))
            .reject();
    }
    Ok((SourceId { kind, name: entry.name.into() }, entry))
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn consul(id: SourceId, item: Item<'_>, base: &PathBase) -> Read<ConsulSource> {
    let mut table = TableReader::new("[consul.NAME]", &item)?;
    let address = table.take("address").map_or(Ok(ConsulSource::DEFAULT_ADDRESS.to_owned()), consul_address);
    let is_plain = address.as_ref().is_ok_and(|address| !address.starts_with("https:"));
    let datacenter = table.optional("datacenter", values::datacenter);
    let token_file = table.optional("token_file", |item| values::path(item, base));
    let [ca, cert, key] = ["ca_file", "cert_file", "key_file"].map(|key| table.take(key));
    let name = table.take("server_name");
    for item in [ca, cert, key, name].into_iter().flatten().filter(|_| is_plain) {
        item.error(format!("{:?} is for https only", item.name))
            .at(item.key)
            .help("start \"address\" with https://, or remove this")
            .report();
    }
    let client_certificate = client_certificate(cert, key, base);
    let wait = table
        .read_or("wait", ConsulSource::DEFAULT_WAIT, |item| duration(item, MIN_WAIT, ConsulSource::MAX_WAIT));
    let max_connections = table.read_or("max_connections", ConsulSource::DEFAULT_MAX_CONNECTIONS, |item| {
        item.number(1, u16::MAX.into())
    });
    let stale = table.read_or("stale", true, |item| item.boolean());
    let max_lag = table
        .read_or("max_lag", ConsulSource::DEFAULT_MAX_LAG, |item| duration(item, MIN_MAX_LAG, MAX_MAX_LAG));
    let guard = guard(&mut table);
    table.finish();
    let ca_file = ca.map(|item| values::path(item, base)).transpose();
    let server_name = name.map(server_name).transpose();
    Ok(ConsulSource {
        id,
        address: address?,
        datacenter: datacenter?,
        token_file: token_file?,
        ca_file: ca_file?,
        server_name: server_name?,
        client_certificate: client_certificate?,
        wait,
        max_connections,
        stale,
        max_lag,
        guard,
    })
}

fn client_certificate(
    cert: Option<Item<'_>>,
    key: Option<Item<'_>>,
    base: &PathBase,
) -> Read<Option<(PathBuf, PathBuf)>> {
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let (cert, key) = (values::path(cert, base), values::path(key, base));
            Ok(Some((cert?, key?)))
        }
        (Some(one), None) | (None, Some(one)) => {
            let other = if one.name == "cert_file" { "key_file" } else { "cert_file" };
            one.error(format!("{:?} needs {other:?}", one.name))
                .at(one.key)
                .help("a client certificate comes with its key: write both, or neither")
                .reject()
        }
        (None, None) => Ok(None),
    }
}

/// Reads the DNS name that Consul's certificate must have. It becomes the host of URLs.
fn server_name(item: Item<'_>) -> Read<String> {
    const EXPECTED: &str = "a DNS name in Consul's certificate, such as \"server.dc1.consul\"";
    let text = item.text_as(EXPECTED)?.to_ascii_lowercase();
    let is_host = Url::parse(&format!("https://{text}")).is_ok_and(|url| url.domain() == Some(&*text));
    if is_host && matches!(ServerName::try_from(text.as_str()), Ok(ServerName::DnsName(_))) {
        return Ok(text);
    }
    item.must_be(EXPECTED).help("leave it out if the certificate is for the host of \"address\"").reject()
}

/// Reads Consul's base URL, without the slash at its end, or `unix://` with the path of a socket.
fn consul_address(item: Item<'_>) -> Read<String> {
    const EXPECTED: &str = "Consul's URL, such as \"http://127.0.0.1:8500\"";
    let text = item.text_as(EXPECTED)?;
    let draft = item.must_be(EXPECTED);
    if text.starts_with("unix:") {
        return match text.strip_prefix("unix://") {
            Some(path) if path.len() > 1 && path.starts_with('/') => Ok(text.to_owned()),
            _ => draft.help("write the socket's path: \"unix:///run/consul/http.sock\"").reject(),
        };
    }
    let with_scheme = || format!("did you mean {:?}?", format!("http://{text}"));
    let has_scheme = text.contains("://");
    let Ok(url) = Url::parse(text) else {
        let is_host = !has_scheme && Url::parse(&format!("http://{text}")).is_ok();
        return if is_host { draft.help(with_scheme()).reject() } else { draft.reject() };
    };
    if !matches!(url.scheme(), "http" | "https") {
        let help = if has_scheme { "the scheme is http or https".to_owned() } else { with_scheme() };
        return draft.help(help).reject();
    }
    if !url.username().is_empty() || url.password().is_some() {
        return draft.label("has a user or password").help("use a token: see \"token_file\"").reject();
    }
    if url.query().is_some() || url.fragment().is_some() {
        return draft.help("leave out \"?\" and \"#\": write scheme, host, port and path only").reject();
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn kubernetes(id: SourceId, item: Item<'_>, base: &PathBase) -> Read<KubernetesSource> {
    let mut table = TableReader::new("[kubernetes.NAME]", &item)?;
    let kubeconfig = table.take("kubeconfig");
    let context = table.take("context");
    if let (None, Some(context)) = (kubeconfig, context) {
        context
            .error("\"context\" needs \"kubeconfig\"")
            .at(context.key)
            .help("without a kubeconfig muster uses the in-cluster service account, which has no contexts")
            .report();
    }
    let identify_clients = table.read_or("identify_clients", false, |item| item.boolean());
    let guard = guard(&mut table);
    table.finish();
    let kubeconfig = kubeconfig.map(|item| values::path(item, base)).transpose();
    let context = context.map(|item| item.text().map(str::to_owned)).transpose();
    Ok(KubernetesSource { id, kubeconfig: kubeconfig?, context: context?, identify_clients, guard })
}
