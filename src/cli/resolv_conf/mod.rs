//! `muster resolv-conf`: makes other programs query muster.
//!
//! ```text
//!  configuration ─▶ client_config ─▶ the text for a program ─▶ standard output
//!                        │
//!                        └─▶ check_running ─▶ install ─▶ /etc/resolv.conf
//! ```
//!
//! Rejected: installing the files of other programs too. Their operators must reload those
//! programs, and a file without its reload only looks done.

mod check_running;
mod client_config;
mod install;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use self::{
    check_running::{Reachability, check_running},
    client_config::{DNS_PORT, Program, ServerFacts},
};
use super::{
    configuration::ConfigArgs,
    output::{fail, finish},
};
use crate::config::{Config, UpstreamSpec};

/// What to print or install.
#[derive(Debug, clap::Args)]
pub(super) struct ResolvConfArgs {
    /// Program to configure
    #[arg(long = "for", value_enum, default_value_t = Program::ResolvConf, value_name = "PROGRAM")]
    program: Program,
    /// Address clients use to reach muster, as IP or IP:PORT [default: the addresses it listens on]
    #[arg(long, value_name = "ADDRESS", value_parser = client_config::parse_address)]
    address: Vec<SocketAddr>,
    /// Write resolv.conf; the old file is kept next to it, for --uninstall
    #[arg(long, conflicts_with = "uninstall")]
    install: bool,
    /// Restore the resolv.conf that --install replaced
    #[arg(long)]
    uninstall: bool,
    /// The path of resolv.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    path: PathBuf,
    /// With --install: drop `search`, `domain`, `options` and `sortlist` of the old file
    #[arg(long, requires = "install")]
    drop_old: bool,
    /// Install even if another program manages the file, muster does not answer, or external names
    /// would not resolve
    #[arg(long)]
    force: bool,
}

pub(super) fn run(configuration: &ConfigArgs, args: &ResolvConfArgs) -> ExitCode {
    if (args.install || args.uninstall) && args.program != Program::ResolvConf {
        let _ = fail(&anyhow::anyhow!(
            "only resolv.conf can be installed; for {}, save the printed text where its first line says",
            args.program
        ));
        return ExitCode::from(2);
    }
    if args.uninstall {
        return finish(install::uninstall(&args.path, args.force));
    }
    let config = match configuration.load() {
        Ok((loaded, _)) => loaded.config,
        Err(code) => return code,
    };
    let facts = ServerFacts::new(&config, &args.address);
    finish(if args.install { install_checked(&config, &facts, args) } else { args.program.text(&facts) })
}

fn install_checked(config: &Config, facts: &ServerFacts, args: &ResolvConfArgs) -> anyhow::Result<String> {
    let addresses = facts.on_port_53().context("nothing was changed")?;
    let mut unchecked = String::new();
    if !args.force {
        check_forwarding(config, facts, &args.path)?;
        unchecked = check_servers(&addresses, facts)?;
    }
    let done = install::install(&args.path, &addresses, args.drop_old, args.force)?;
    Ok(done + &unchecked)
}

/// Refuses to name a server that does not answer; returns a line for each that was not checked.
fn check_servers(addresses: &[IpAddr], facts: &ServerFacts) -> anyhow::Result<String> {
    let mut unchecked = String::new();
    for address in addresses {
        let checked = check_running(SocketAddr::new(*address, DNS_PORT), facts.first_apex());
        if checked.context("nothing was changed (--force skips this check)")? == Reachability::NotLocal {
            unchecked += &format!("{address} is not local: not checked\n");
        }
    }
    Ok(unchecked)
}

/// Refuses to cut a machine off from external names.
fn check_forwarding(config: &Config, facts: &ServerFacts, path: &Path) -> anyhow::Result<()> {
    if !facts.forwards_all {
        bail!(
            "nothing was changed: muster would be the only name server, but it does not forward external names; add\n\
             [forward]\n\".\" = [\"10.0.0.2\"]\n\
             with your network's name servers to muster.toml (or use --force)"
        );
    }
    if forwards_to(config, path) {
        bail!(
            "nothing was changed: [forward] uses \"system\", the servers in resolv.conf, which would then be muster \
             itself; name the resolvers instead, such as \".\" = [\"10.0.0.2\"] (or use --force)"
        );
    }
    if let Some(upstream) = upstreams(config).find(|upstream| needs_resolver(upstream)) {
        bail!(
            "nothing was changed: the upstream \"{upstream}\" has a name, and this machine would ask muster for its \
             address, which muster would ask that upstream; add the address: \"{upstream}#192.0.2.1\" (or use --force)"
        );
    }
    Ok(())
}

fn upstreams(config: &Config) -> impl Iterator<Item = &UpstreamSpec> {
    config.forward.iter().flat_map(|forward| &forward.upstreams)
}

/// Whether external names are forwarded to the servers in this resolv.conf, by whatever path.
fn forwards_to(config: &Config, resolv_conf: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    upstreams(config).any(|upstream| match upstream {
        UpstreamSpec::ResolvConf(path) => real(path) == real(resolv_conf),
        _ => false,
    })
}

/// Whether the machine's resolver is asked for the upstream's address.
fn needs_resolver(upstream: &UpstreamSpec) -> bool {
    let UpstreamSpec::Https { url, address: None } = upstream else { return false };
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_none_or(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_the_same_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link, other] = ["real", "link", "other"].map(|name| folder.path().join(name));
        std::fs::write(&real, "nameserver 192.0.2.1\n").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let text = format!("[forward]\n\".\" = [{:?}]", real.display().to_string());
        let files = [("muster.toml".into(), text)];
        let config = crate::config::load_from(&files).map(|loaded| loaded.config).unwrap();
        assert!(forwards_to(&config, &link));
        assert!(!forwards_to(&config, &other));
    }

    #[test]
    fn an_upstream_by_name_needs_another_resolver() {
        let https = |url: &str, address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            needs_resolver(&UpstreamSpec::Https { url: url.to_owned(), address })
        };
        assert!(https("https://dns.example/dns-query", None));
        assert!(!https("https://dns.example/dns-query", Some("192.0.2.1:443")));
        assert!(!https("https://192.0.2.1/dns-query", None));
        assert!(!https("https://[2001:db8::1]/dns-query", None));
        assert!(!needs_resolver(&UpstreamSpec::Plain("192.0.2.1:53".parse().unwrap())));
    }
}
