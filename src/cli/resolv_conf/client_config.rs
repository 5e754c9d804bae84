//! The files that make other programs query muster, one for each program.
//!
//! Programs with a cache keep no answers with TTL 0. A validating resolver is told that the
//! namespaces are unsigned, and one that filters private addresses from answers, that the
//! namespaces may have them.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::bail;
use clap::ValueEnum;

use crate::config::Config;

/// The port that resolv.conf implies.
pub(super) const DNS_PORT: u16 = 53;

/// A program that can query muster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Program {
    /// The C library's resolver
    #[value(name = "resolv.conf")]
    ResolvConf,
    /// The namespaces, and external names if muster forwards them; else through a link of its own
    SystemdResolved,
    /// All names; without forwarding, the namespaces through its dnsmasq
    #[value(name = "networkmanager")]
    NetworkManager,
    /// The namespaces only
    Dnsmasq,
    /// The namespaces only, as a server block of a Corefile
    #[value(name = "coredns")]
    CoreDns,
    /// All names outside Consul's own domain
    Consul,
    /// The namespaces only
    Unbound,
    /// Route 53 Resolver rules for the namespaces
    Terraform,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// What the texts need to know about the server.
#[derive(Clone, Debug)]
pub(super) struct ServerFacts {
    /// Where programs on this machine reach muster; at least one.
    local: Vec<SocketAddr>,
    /// Where other machines reach muster; empty if unknown or impossible.
    remote: Vec<SocketAddr>,
    /// The namespaces, without the final dot.
    apexes: Vec<String>,
    /// Whether all external names are forwarded.
    pub(super) forwards_all: bool,
}

impl ServerFacts {
    /// Collects them from the configuration; `given` replaces the addresses it listens on.
    pub(super) fn new(config: &Config, given: &[SocketAddr]) -> Self {
        let listen = if given.is_empty() { &config.listen.dns } else { given };
        let local = listen.iter().map(|address| match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
            _ => *address,
        });
        let mut local: Vec<_> = local.collect();
        if given.is_empty() {
            // One server on one port: programs on this machine use loopback, which no network can
            // disturb.
            let loopback = |port| move |other: &SocketAddr| other.ip().is_loopback() && other.port() == port;
            let all = local.clone();
            local.retain(|address| address.ip().is_loopback() || !all.iter().any(loopback(address.port())));
        }
        let is_remote = |address: &&SocketAddr| !address.ip().is_loopback() && !address.ip().is_unspecified();
        let apex = |name: &crate::model::Name| name.to_string().trim_end_matches('.').to_owned();
        let namespaces = config.namespaces.iter().map(|namespace| apex(&namespace.apex));
        let reverse =
            config.reverse.iter().filter_map(|network| network.reverse_name()).map(|name| apex(&name));
        Self {
            remote: listen.iter().filter(is_remote).copied().collect(),
            local,
            apexes: namespaces.chain(reverse).collect(),
            forwards_all: config.forward.iter().any(|forward| forward.suffix == crate::model::Name::root()),
        }
    }

    /// The addresses that resolv.conf can hold: it has no syntax for ports.
    ///
    /// # Errors
    /// When muster does not listen on port 53.
    pub(super) fn on_port_53(&self) -> anyhow::Result<Vec<IpAddr>> {
        /// The C library reads no more (`MAXNS`).
        const MAX_SERVERS: usize = 3;
        let addresses = self.local.iter().filter(|address| address.port() == DNS_PORT).map(SocketAddr::ip);
        let addresses: Vec<_> = addresses.take(MAX_SERVERS).collect();
        if addresses.is_empty() {
            bail!(
                "muster does not listen on port 53, and resolv.conf cannot name another port; \
                 add \"127.0.0.1:53\" to \"dns\" in [listen]"
            );
        }
        Ok(addresses)
    }

    fn remote(&self) -> anyhow::Result<&[SocketAddr]> {
        if self.remote.is_empty() {
            bail!(
                "muster listens on no address that other machines can use; pass one with --address, \
                 or add this machine's address to \"dns\" in [listen]"
            );
        }
        Ok(&self.remote)
    }

    /// The first namespace, to check that muster answers.
    pub(super) fn first_apex(&self) -> Option<&str> {
        self.apexes.first().map(String::as_str)
    }

    fn apexes(&self) -> anyhow::Result<&[String]> {
        if self.apexes.is_empty() {
            bail!("the configuration has no namespace, so no program needs to query muster");
        }
        Ok(&self.apexes)
    }
}

/// Parses `--address`.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    bare.or_else(|_| text.parse())
        .map_err(|_| "an IP address, such as 10.0.0.53 or 10.0.0.53:5300".to_owned())
}

impl Program {
    /// The file's text.
    ///
    /// # Errors
    /// When the configuration lacks an address or a namespace that the text needs.
    pub(super) fn text(self, facts: &ServerFacts) -> anyhow::Result<String> {
        let mut text = String::new();
        match self {
            Self::ResolvConf => resolv_conf(facts, &mut text)?,
            Self::SystemdResolved => systemd_resolved(facts, &mut text)?,
            Self::NetworkManager => network_manager(facts, &mut text)?,
            Self::Dnsmasq => dnsmasq(facts, &mut text)?,
            Self::CoreDns => coredns(facts, &mut text)?,
            Self::Consul => consul(facts, &mut text)?,
            Self::Unbound => unbound(facts, &mut text)?,
            Self::Terraform => terraform(facts, &mut text)?,
        }
        Ok(text)
    }
}

fn resolv_conf(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    let addresses = facts.on_port_53()?;
    writeln!(text, "# /etc/resolv.conf; `muster resolv-conf --install` writes it and keeps the old file")?;
    if !facts.forwards_all {
        writeln!(
            text,
            "# muster does not forward external names yet: they are REFUSED until [forward] has \".\""
        )?;
    }
    for address in addresses {
        writeln!(text, "nameserver {address}")?;
    }
    Ok(())
}

/// systemd-resolved sends the servers under `[Resolve]` every name that no link has a domain for,
/// whatever `Domains=` says there; only a link can have `DNSDefaultRoute=no`.
fn systemd_resolved(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    let servers = join(&facts.local, " ", |address| resolved_address(*address));
    let domains = join(facts.apexes()?, " ", |apex| format!("~{apex}"));
    if facts.forwards_all {
        text.push_str(
            "# /etc/systemd/resolved.conf.d/muster.conf; then: systemctl restart systemd-resolved\n\
             # Names of these namespaces go to muster alone. External names go both to muster, which forwards\n\
             # them, and to the links' servers; the first good answer counts.\n\
             [Resolve]\n",
        );
    } else {
        text.push_str(
            "# Two files for systemd-networkd, which must run; then: networkctl reload\n\
             # muster does not forward external names, but resolved sends all names to a server in resolved.conf.\n\
             # A link's server can be limited to domains: so these namespaces get a link of their own, and all\n\
             # other names resolve as before.\n\
             # /etc/systemd/network/muster.netdev\n\
             [NetDev]\nName=muster\nKind=dummy\n\
             # /etc/systemd/network/muster.network\n\
             [Match]\nName=muster\n\
             [Link]\nRequiredForOnline=no\n\
             [Network]\n\
             # resolved ignores links without an address; this one is a dummy address (RFC 7600).\n\
             Address=192.0.0.8/32\nLinkLocalAddressing=no\nDNSDefaultRoute=no\n",
        );
        if facts.local.iter().any(|address| !address.ip().is_loopback()) {
            text.push_str(
                "# These must be addresses of this machine: no others are reachable through this link.\n",
            );
        }
    }
    writeln!(text, "DNS={servers}\nDomains={domains}")?;
    Ok(())
}

/// Omits port 53, since old versions do not support ports.
fn resolved_address(address: SocketAddr) -> String {
    if address.port() == DNS_PORT { address.ip().to_string() } else { address.to_string() }
}

fn network_manager(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    if let (true, Ok(addresses)) = (facts.forwards_all, facts.on_port_53()) {
        writeln!(text, "# /etc/NetworkManager/conf.d/muster.conf; then: nmcli general reload")?;
        writeln!(text, "# All names of all connections go to muster, which forwards external names.")?;
        writeln!(text, "[global-dns-domain-*]")?;
        writeln!(text, "servers={}", join(&addresses, ",", IpAddr::to_string))?;
        return Ok(());
    }
    writeln!(text, "# /etc/NetworkManager/dnsmasq.d/muster.conf; then: nmcli general reload")?;
    writeln!(text, "# Needs `dns=dnsmasq` under [main] in /etc/NetworkManager/NetworkManager.conf.")?;
    dnsmasq_servers(facts, text)
}

fn dnsmasq(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "# /etc/dnsmasq.d/muster.conf; then: systemctl restart dnsmasq")?;
    dnsmasq_servers(facts, text)
}

fn dnsmasq_servers(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    for apex in facts.apexes()? {
        for address in &facts.local {
            writeln!(text, "server=/{apex}/{}#{}", address.ip(), address.port())?;
        }
        writeln!(text, "rebind-domain-ok=/{apex}/")?;
    }
    Ok(())
}

fn coredns(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "# A server block of the Corefile (in a cluster: kubectl -n kube-system edit configmap coredns)."
    )?;
    writeln!(text, "# No `cache`: muster's answers have TTL 0 and cost little.")?;
    writeln!(text, "{} {{", join(facts.apexes()?, " ", |apex| format!("{apex}:53")))?;
    writeln!(text, "    errors")?;
    writeln!(text, "    forward . {} {{", join(facts.remote()?, " ", SocketAddr::to_string))?;
    writeln!(text, "        policy round_robin")?;
    writeln!(text, "        health_check 1s")?;
    writeln!(text, "    }}")?;
    writeln!(text, "}}")?;
    Ok(())
}

fn consul(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "# /etc/consul.d/muster.hcl; then: consul reload")?;
    writeln!(text, "# Consul's DNS port forwards every name outside Consul's own domain to muster.")?;
    if !facts.forwards_all {
        writeln!(text, "# muster does not forward external names: list your network's resolvers after it.")?;
    }
    writeln!(text, "recursors = [{}]", join(&facts.local, ", ", |address| format!("\"{address}\"")))?;
    Ok(())
}

fn unbound(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "# /etc/unbound/unbound.conf.d/muster.conf; then: unbound-control reload")?;
    writeln!(text, "server:")?;
    if facts.local.iter().any(|address| address.ip().is_loopback()) {
        writeln!(text, "    do-not-query-localhost: no")?;
    }
    for apex in facts.apexes()? {
        writeln!(text, "    domain-insecure: \"{apex}\"")?;
        writeln!(text, "    private-domain: \"{apex}\"")?;
        // Else unbound answers from its built-in `test.` or `10.in-addr.arpa.`.
        writeln!(text, "    local-zone: \"{apex}\" transparent")?;
    }
    for apex in facts.apexes()? {
        writeln!(text, "stub-zone:")?;
        writeln!(text, "    name: \"{apex}\"")?;
        for address in &facts.local {
            writeln!(text, "    stub-addr: {}@{}", address.ip(), address.port())?;
        }
        writeln!(text, "    stub-no-cache: yes")?;
    }
    Ok(())
}

fn terraform(facts: &ServerFacts, text: &mut String) -> anyhow::Result<()> {
    let targets = facts.remote()?;
    text.push_str(
        "# Route 53 Resolver: names of these namespaces go from the VPC through the outbound endpoint to muster.\n\
         # Let the endpoint's addresses query muster: [access] allow.\n\
         variable \"resolver_endpoint_id\" {\n  type        = string\n  \
           description = \"ID of the outbound endpoint, such as rslvr-out-0123456789abcdef0\"\n}\n\n\
         variable \"vpc_ids\" {\n  type        = set(string)\n  \
           description = \"VPCs that resolve these names\"\n}\n\n\
         locals {\n",
    );
    writeln!(
        text,
        "  muster_namespaces = toset([{}])",
        join(facts.apexes()?, ", ", |apex| format!("\"{apex}\""))
    )?;
    text.push_str(
        "}\n\n\
         resource \"aws_route53_resolver_rule\" \"muster\" {\n  \
           for_each = local.muster_namespaces\n\n  \
           domain_name          = each.key\n  \
           name                 = \"muster-${replace(each.key, \".\", \"-\")}\"\n  \
           rule_type            = \"FORWARD\"\n  \
           resolver_endpoint_id = var.resolver_endpoint_id\n",
    );
    for target in targets {
        let argument = if target.is_ipv6() { "ipv6" } else { "ip" };
        let equals = if target.is_ipv6() { "=" } else { "  =" };
        writeln!(text, "\n  target_ip {{")?;
        writeln!(text, "    {argument} {equals} \"{}\"", target.ip())?;
        writeln!(text, "    port = {}\n  }}", target.port())?;
    }
    text.push_str(
        "}\n\n\
         resource \"aws_route53_resolver_rule_association\" \"muster\" {\n  \
           for_each = { for pair in setproduct(local.muster_namespaces, var.vpc_ids) : join(\" \", pair) => pair }\n\n  \
           resolver_rule_id = aws_route53_resolver_rule.muster[each.value[0]].id\n  \
           vpc_id           = each.value[1]\n}\n",
    );
    Ok(())
}

fn join<T>(list: &[T], between: &str, write: impl Fn(&T) -> String) -> String {
    list.iter().map(write).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests;
