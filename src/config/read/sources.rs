//! `[consul.NAME]` and `[kubernetes.NAME]`: where instances come from.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;

use crate::{
    config::{
        schema::{ConsulSource, KubernetesSource},
        toml::{Item, PathBase, TableReader, duration, list, nearest, shorten, values},
    },
    model::{SourceId, SourceKind},
};

/// Longest name of a source, in bytes: it is a label of metrics.
const MAX_NAME: usize = 63;

/// Every source of `muster.toml`.
#[derive(Debug, Default)]
pub(in crate::config) struct DeclaredSources {
    pub(in crate::config) consul: Vec<ConsulSource>,
    pub(in crate::config) kubernetes: Vec<KubernetesSource>,
    names: Vec<SourceId>,
    /// Whether `muster.toml` could not be read to its end, so that there may be more.
    pub(in crate::config) incomplete: bool,
}

impl DeclaredSources {
    /// Reads the name of a source of any kind, `static` for the instances that stand in zone files.
    pub(super) fn of_any_kind(&self, item: Item<'_>) -> Option<SourceId> {
        const WHAT: &str = "the name of a source in muster.toml, or \"static\"";
        let name = item.text_as(WHAT)?;
        let fixed = SourceId::static_source();
        let mut found = self.names.iter().chain([&fixed]).filter(|id| id.name.as_ref() == name);
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only.clone()),
            (Some(one), Some(other)) => item
                .error(format!("there are two sources {:?}: {one} and {other}", shorten(name)))
                .help(match other.kind {
                    SourceKind::Static => {
                        "\"static\" is what the instances in zone files are called: rename the other one"
                            .to_owned()
                    }
                    _ => format!("say which: consul = {name:?} or kubernetes = {name:?}"),
                })
                .reject(),
            _ if self.incomplete => None,
            _ => {
                let names: Vec<_> = self.names.iter().chain([&fixed]).map(|id| id.name.as_ref()).collect();
                let help = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("the sources are {}", list(&names, "and")),
                };
                item.error(format!("there is no source {:?}", shorten(name))).help(help).reject()
            }
        }
    }

    /// Reads the name of a source of `kind`, which must be there.
    pub(super) fn named(&self, item: Item<'_>, kind: SourceKind) -> Option<SourceId> {
        let what = format!("the name of a {} source in muster.toml", kind.as_str());
        let name = item.text_as(&what)?;
        let id = SourceId { kind, name: name.into() };
        if self.incomplete || self.names.contains(&id) {
            return Some(id);
        }
        let names: Vec<_> =
            self.names.iter().filter(|id| id.kind == kind).map(|id| id.name.as_ref()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if is_name(name) => {
                format!(
                    "add [{}.{name}] to muster.toml; its {} sources are {}",
                    kind.as_str(),
                    kind.as_str(),
                    list(&names, "and")
                )
            }
            None => format!("the {} sources in muster.toml are {}", kind.as_str(), list(&names, "and")),
        };
        item.error(format!("there is no {} source {:?}", kind.as_str(), shorten(name))).help(help).reject()
    }
}

/// Reads the tables of all kinds of sources.
pub(super) fn sources(table: &mut TableReader<'_>, base: &PathBase) -> DeclaredSources {
    let mut sources = DeclaredSources::default();
    for (id, item) in named(table.take("consul"), SourceKind::Consul) {
        sources.names.push(id.clone());
        sources.consul.extend(consul(id, item, base));
    }
    for (id, item) in named(table.take("kubernetes"), SourceKind::Kubernetes) {
        sources.names.push(id.clone());
        sources.kubernetes.extend(kubernetes(id, item, base));
    }
    sources.consul.sort_by(|a, b| a.id.cmp(&b.id));
    sources.kubernetes.sort_by(|a, b| a.id.cmp(&b.id));
    sources
}

fn named(item: Option<Item<'_>>, kind: SourceKind) -> Vec<(SourceId, Item<'_>)> {
    let what = format!("a table of sources, such as [{}.vms]", kind.as_str());
    let entries = item.and_then(|item| item.entries(&what)).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| {
            if !is_name(entry.name) {
                return entry
                    .error(format!("{:?} is not a name for a source", shorten(entry.name)))
                    .at(entry.key)
                    .help("a name has at most 63 letters, digits, \"-\" and \"_\"")
                    .reject();
            }
            if entry.value.as_table().is_none() {
                return entry
                    .error(format!("{:?} must be a table", entry.name))
                    .help(format!(
                        "a source has a name of its own: write [{}.vms] above its keys",
                        kind.as_str()
                    ))
                    .reject();
            }
            Some((SourceId { kind, name: entry.name.into() }, entry))
        })
        .collect()
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn consul(id: SourceId, item: Item<'_>, base: &PathBase) -> Option<ConsulSource> {
    let mut table = TableReader::new("[consul.NAME]", &item)?;
    let address = match table.take("address") {
        Some(item) => consul_address(item),
        None => Some(ConsulSource::DEFAULT_ADDRESS.to_owned()),
    };
    let is_plain = address.as_ref().is_some_and(|address| address.starts_with("http:"));
    let datacenter = table.take("datacenter").and_then(values::datacenter);
    let token_file = table.take("token_file").and_then(|item| values::path(item, base));
    let [ca, cert, key] = ["ca_file", "cert_file", "key_file"].map(|key| table.take(key));
    for file in [ca, cert, key].into_iter().flatten().filter(|_| is_plain) {
        file.error(format!("{:?} is for https only", file.name))
            .at(file.key)
            .help("begin \"address\" with https://, or take this out")
            .report();
    }
    let client_certificate = client_certificate(cert, key, base);
    let wait =
        table.take("wait").and_then(|item| duration(item, Duration::from_secs(1), ConsulSource::MAX_WAIT));
    let max_connections = table
        .take("max_connections")
        .and_then(|item| item.number(1, u16::MAX.into()).and_then(|max| usize::try_from(max).ok()));
    let stale = table.take("stale").and_then(|item| item.boolean());
    let hour = Duration::from_secs(3600);
    let max_lag = table.take("max_lag").and_then(|item| duration(item, Duration::from_millis(1), hour));
    table.finish();
    Some(ConsulSource {
        id,
        address: address?,
        datacenter,
        token_file,
        ca_file: ca.and_then(|item| values::path(item, base)),
        client_certificate,
        wait: wait.unwrap_or(ConsulSource::DEFAULT_WAIT),
        max_connections: max_connections.unwrap_or(ConsulSource::DEFAULT_MAX_CONNECTIONS),
        stale: stale.unwrap_or(true),
        max_lag: max_lag.unwrap_or(ConsulSource::DEFAULT_MAX_LAG),
    })
}

fn client_certificate(
    cert: Option<Item<'_>>,
    key: Option<Item<'_>>,
    base: &PathBase,
) -> Option<(PathBuf, PathBuf)> {
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let cert = values::path(cert, base);
            Some((cert?, values::path(key, base)?))
        }
        (Some(one), None) | (None, Some(one)) => {
            let other = if one.name == "cert_file" { "key_file" } else { "cert_file" };
            one.error(format!("{:?} needs {other:?} beside it", one.name))
                .at(one.key)
                .help("a client shows a certificate and proves it with its key: write both, or neither")
                .reject()
        }
        (None, None) => None,
    }
}

/// Reads Consul's base URL; a slash at its end is taken off.
fn consul_address(item: Item<'_>) -> Option<String> {
    const WHAT: &str = "Consul's URL, such as \"http://127.0.0.1:8500\"";
    let text = item.text_as(WHAT)?;
    if text.starts_with("unix:") {
        return item
            .must_be(WHAT)
            .help("muster does not speak to Consul over a unix socket; use the agent's HTTP or HTTPS address")
            .reject();
    }
    let draft = item.must_be(WHAT);
    let Ok(url) = Url::parse(text).map_err(|error| error.to_string()) else {
        return match Url::parse(&format!("http://{text}")) {
            Ok(_) if !text.contains("://") => {
                draft.help(format!("did you mean {:?}?", format!("http://{text}"))).reject()
            }
            _ => draft.reject(),
        };
    };
    if !matches!(url.scheme(), "http" | "https") {
        let help = if text.contains("://") {
            "its scheme is http or https".to_owned()
        } else {
            format!("did you mean {:?}?", format!("http://{text}"))
        };
        return draft.help(help).reject();
    }
    if !url.username().is_empty() || url.password().is_some() {
        return draft.label("has a user or password").help("access is by token: see \"token_file\"").reject();
    }
    if url.query().is_some() || url.fragment().is_some() {
        return draft.help("without \"?\" and \"#\": scheme, host, port and, if need be, a path").reject();
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn kubernetes(id: SourceId, item: Item<'_>, base: &PathBase) -> Option<KubernetesSource> {
    let mut table = TableReader::new("[kubernetes.NAME]", &item)?;
    let kubeconfig = table.take("kubeconfig");
    let context = table.take("context");
    if let (None, Some(context)) = (kubeconfig, context) {
        context
            .error("\"context\" needs \"kubeconfig\" beside it")
            .at(context.key)
            .help("without a kubeconfig the in-cluster service account is used, which has no contexts")
            .report();
    }
    let identify_clients = table.take("identify_clients").and_then(|item| item.boolean());
    table.finish();
    Some(KubernetesSource {
        id,
        kubeconfig: kubeconfig.and_then(|item| values::path(item, base)),
        context: context.and_then(|item| item.text()).map(str::to_owned),
        identify_clients: identify_clients.unwrap_or(false),
    })
}
