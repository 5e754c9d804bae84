//! The texts: for each program the file that makes it ask muster.
//!
//! Programs with a cache keep nothing that has TTL 0; one that validates is told that our names are not signed, and one that guards
//! against private addresses in answers that ours may have them.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::bail;
use clap::ValueEnum;

use crate::config::Config;

/// The port that resolv.conf means.
pub(super) const PORT: u16 = 53;

/// Whom a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The C library's resolver
    #[value(name = "resolv.conf")]
    ResolvConf,
    /// Our namespaces; other names too if muster forwards them, else by a link of their own
    SystemdResolved,
    /// All names; if others are not forwarded, our namespaces by its dnsmasq
    #[value(name = "networkmanager")]
    NetworkManager,
    /// Our namespaces only
    Dnsmasq,
    /// Our namespaces only, as a block of a Corefile
    #[value(name = "coredns")]
    CoreDns,
    /// All names outside of Consul's own domain
    Consul,
    /// Our namespaces only
    Unbound,
    /// Route 53 Resolver rules for our namespaces
    Terraform,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// What the texts are made from.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Where programs on this machine ask, at least one.
    local: Vec<SocketAddr>,
    /// Where other machines ask; none if that is not known, or they cannot.
    remote: Vec<SocketAddr>,
    /// Our namespaces, without the final dot.
    apexes: Vec<String>,
    /// Whether other names are forwarded, whatever they are.
    pub(super) forwards_all: bool,
}

impl Facts {
    /// Reads them from the configuration, unless `given` says where muster is to be asked.
    pub(super) fn of(config: &Config, given: &[SocketAddr]) -> Self {
        let listen = if given.is_empty() { &config.listen.dns } else { given };
        let local = listen.iter().map(|address| match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
            _ => *address,
        });
        let mut local: Vec<_> = local.collect();
        if given.is_empty() {
            // The same server on the same port: a machine's own programs ask it where nothing can be in between.
            let loopback = |port| move |other: &SocketAddr| other.ip().is_loopback() && other.port() == port;
            let all = local.clone();
            local.retain(|address| address.ip().is_loopback() || !all.iter().any(loopback(address.port())));
        }
        let is_remote = |address: &&SocketAddr| !address.ip().is_loopback() && !address.ip().is_unspecified();
        let apex = |name: &crate::model::Name| name.to_string().trim_end_matches('.').to_owned();
        Self {
            remote: listen.iter().filter(is_remote).copied().collect(),
            local,
            apexes: config.namespaces.iter().map(|namespace| apex(&namespace.apex)).collect(),
            forwards_all: config.forward.iter().any(|forward| forward.suffix == crate::model::Name::root()),
        }
    }

    /// The addresses that resolv.conf can have: it knows no ports.
    pub(super) fn on_port_53(&self) -> anyhow::Result<Vec<IpAddr>> {
        /// The C libraries look at no more (`MAXNS`).
        const MOST: usize = 3;
        let addresses = self.local.iter().filter(|address| address.port() == PORT).map(SocketAddr::ip);
        let addresses: Vec<_> = addresses.take(MOST).collect();
        if addresses.is_empty() {
            bail!(
                "muster does not listen on port 53, and resolv.conf cannot name another; add \"127.0.0.1:53\" to \
                 \"dns\" in [listen]"
            );
        }
        Ok(addresses)
    }

    fn remote(&self) -> anyhow::Result<&[SocketAddr]> {
        if self.remote.is_empty() {
            bail!(
                "where can other machines ask muster? Say it with --address, or name the machine's address under \
                 \"dns\" in [listen]"
            );
        }
        Ok(&self.remote)
    }

    /// A name that muster answers for itself.
    pub(super) fn first_apex(&self) -> Option<&str> {
        self.apexes.first().map(String::as_str)
    }

    fn apexes(&self) -> anyhow::Result<&[String]> {
        if self.apexes.is_empty() {
            bail!("there is no namespace, and so no name to ask muster for");
        }
        Ok(&self.apexes)
    }
}

/// Reads an address for `--address`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    bare.or_else(|_| text.parse())
        .map_err(|_| "an IP address, such as 10.0.0.53 or 10.0.0.53:5300".to_owned())
}

impl Kind {
    /// The text for it.
    ///
    /// # Errors
    /// When the configuration does not allow for any.
    pub(super) fn text(self, facts: &Facts) -> anyhow::Result<String> {
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

fn resolv_conf(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    let addresses = facts.on_port_53()?;
    writeln!(text, "# /etc/resolv.conf; `muster resolv-conf --install` writes it and keeps the old one")?;
    if !facts.forwards_all {
        writeln!(
            text,
            "# muster forwards no other names yet: they will be REFUSED until [forward] has \".\""
        )?;
    }
    for address in addresses {
        writeln!(text, "nameserver {address}")?;
    }
    Ok(())
}

/// Servers under `[Resolve]` are asked for every name that no link has a domain for, whatever `Domains=` says there; only a link
/// can say `DNSDefaultRoute=no`.
fn systemd_resolved(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    let servers = join(&facts.local, " ", |address| resolved_address(*address));
    let domains = join(facts.apexes()?, " ", |apex| format!("~{apex}"));
    if facts.forwards_all {
        text.push_str(
            "# /etc/systemd/resolved.conf.d/muster.conf; then: systemctl restart systemd-resolved\n\
             # Only muster is asked for names of these namespaces. For other names both muster, which forwards them, and the\n\
             # servers of the links are asked, and the first good answer counts.\n\
             [Resolve]\n",
        );
    } else {
        text.push_str(
            "# Two files for systemd-networkd, which must run; then: networkctl reload\n\
             # muster forwards no other names, and a server in resolved.conf is asked for all. That of a link need not be: so\n\
             # these namespaces have a link of their own, and all other names go where they went.\n\
             # /etc/systemd/network/muster.netdev\n\
             [NetDev]\nName=muster\nKind=dummy\n\
             # /etc/systemd/network/muster.network\n\
             [Match]\nName=muster\n\
             [Link]\nRequiredForOnline=no\n\
             [Network]\n\
             # Links without an address are not used; this one is for nobody (RFC 7600).\n\
             Address=192.0.0.8/32\nLinkLocalAddressing=no\nDNSDefaultRoute=no\n",
        );
        if facts.local.iter().any(|address| !address.ip().is_loopback()) {
            text.push_str(
                "# These must be addresses of this machine: others cannot be reached through that link.\n",
            );
        }
    }
    writeln!(text, "DNS={servers}\nDomains={domains}")?;
    Ok(())
}

/// Port 53 is left out, since old versions know no ports.
fn resolved_address(address: SocketAddr) -> String {
    if address.port() == PORT { address.ip().to_string() } else { address.to_string() }
}

fn network_manager(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    if let (true, Ok(addresses)) = (facts.forwards_all, facts.on_port_53()) {
        writeln!(text, "# /etc/NetworkManager/conf.d/muster.conf; then: nmcli general reload")?;
        writeln!(
            text,
            "# All names of all connections go to muster, which forwards those that are not its own."
        )?;
        writeln!(text, "[global-dns-domain-*]")?;
        writeln!(text, "servers={}", join(&addresses, ",", IpAddr::to_string))?;
        return Ok(());
    }
    writeln!(text, "# /etc/NetworkManager/dnsmasq.d/muster.conf; then: nmcli general reload")?;
    writeln!(text, "# Needs `dns=dnsmasq` under [main] in /etc/NetworkManager/NetworkManager.conf.")?;
    dnsmasq_servers(facts, text)
}

fn dnsmasq(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "# /etc/dnsmasq.d/muster.conf; then: systemctl restart dnsmasq")?;
    dnsmasq_servers(facts, text)
}

fn dnsmasq_servers(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    for apex in facts.apexes()? {
        for address in &facts.local {
            writeln!(text, "server=/{apex}/{}#{}", address.ip(), address.port())?;
        }
        writeln!(text, "rebind-domain-ok=/{apex}/")?;
    }
    Ok(())
}

fn coredns(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "# A block of the Corefile (in a cluster: kubectl -n kube-system edit configmap coredns)."
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

fn consul(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "# /etc/consul.d/muster.hcl; then: consul reload")?;
    writeln!(text, "# Consul's DNS port asks muster for every name outside of Consul's own domain.")?;
    if !facts.forwards_all {
        writeln!(text, "# muster forwards no other names: name the resolvers of your network behind it.")?;
    }
    writeln!(text, "recursors = [{}]", join(&facts.local, ", ", |address| format!("\"{address}\"")))?;
    Ok(())
}

fn unbound(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "# /etc/unbound/unbound.conf.d/muster.conf; then: unbound-control reload")?;
    writeln!(text, "server:")?;
    if facts.local.iter().any(|address| address.ip().is_loopback()) {
        writeln!(text, "    do-not-query-localhost: no")?;
    }
    for apex in facts.apexes()? {
        writeln!(text, "    domain-insecure: \"{apex}\"")?;
        writeln!(text, "    private-domain: \"{apex}\"")?;
        // Else unbound's own `test.` or `10.in-addr.arpa.` would answer first.
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

fn terraform(facts: &Facts, text: &mut String) -> anyhow::Result<()> {
    let targets = facts.remote()?;
    text.push_str(
        "# Route 53 Resolver: names of these namespaces leave the VPC through the outbound endpoint to muster.\n\
         # muster must let the endpoint's addresses ask: [access] allow.\n\
         variable \"resolver_endpoint_id\" {\n  type        = string\n  \
           description = \"ID of the outbound endpoint, such as rslvr-out-0123456789abcdef0\"\n}\n\n\
         variable \"vpc_ids\" {\n  type        = set(string)\n  \
           description = \"VPCs that are to resolve these names\"\n}\n\n\
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
#[path = "stand_in_tests.rs"]
mod tests;
