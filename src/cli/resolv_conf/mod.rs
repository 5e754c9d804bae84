//! `muster resolv-conf`: what others need to be told so that they ask muster.
//!
//! [`stand_in`] makes the texts from the loaded configuration; [`install`] puts the one for resolv.conf in place and takes it
//! out again, once [`asked`] has seen that muster answers. Nothing else is installed: the other files belong to programs that are to be reloaded by whoever runs them.

mod asked;
mod install;
mod stand_in;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use self::{
    asked::Asked,
    stand_in::{Facts, Kind},
};
use super::{Configuration, fail, load, print};
use crate::config::{Config, UpstreamSpec};

/// What to print or do.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// For whom
    #[arg(long = "for", value_enum, default_value_t = Kind::ResolvConf, value_name = "PROGRAM")]
    kind: Kind,
    /// Where muster is to be asked, as IP or IP:PORT [default: the addresses that it listens on]
    #[arg(long, value_name = "ADDRESS", value_parser = stand_in::address)]
    address: Vec<SocketAddr>,
    /// Write resolv.conf, and keep the old one beside it for --uninstall
    #[arg(long, conflicts_with = "uninstall")]
    install: bool,
    /// Put the resolv.conf back that was there before --install
    #[arg(long)]
    uninstall: bool,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    path: PathBuf,
    /// With --install: do not keep `search`, `domain`, `options` and `sortlist` of the old file
    #[arg(long, requires = "install")]
    drop_old: bool,
    /// Install although the file is managed by another program, muster does not answer, or other names would not resolve
    #[arg(long)]
    force: bool,
}

pub(super) fn run(configuration: &Configuration, options: &Options) -> ExitCode {
    if (options.install || options.uninstall) && options.kind != Kind::ResolvConf {
        let _ = fail(&anyhow::anyhow!(
            "only resolv.conf can be installed: put what is printed for {} where its first line says",
            options.kind
        ));
        return ExitCode::from(2);
    }
    if options.uninstall {
        return done(install::uninstall(&options.path, options.force));
    }
    let config = match load(configuration) {
        Ok((loaded, _)) => loaded.config,
        Err(code) => return code,
    };
    let facts = Facts::of(&config, &options.address);
    if options.install {
        done(put_in_place(&config, &facts, options))
    } else {
        done(options.kind.text(&facts))
    }
}

fn put_in_place(config: &Config, facts: &Facts, options: &Options) -> anyhow::Result<String> {
    let addresses = facts.on_port_53().context("nothing was changed")?;
    if !options.force {
        check_forwarding(config, facts, &options.path)?;
    }
    let unasked = if options.force { String::new() } else { ask(&addresses, facts)? };
    let said = install::install(&options.path, &addresses, options.drop_old, options.force)?;
    Ok(said + &unasked)
}

/// Refuses to name a server that does not answer; returns which were not asked, for people.
fn ask(addresses: &[IpAddr], facts: &Facts) -> anyhow::Result<String> {
    let mut unasked = String::new();
    for address in addresses {
        let asked = asked::ask(SocketAddr::new(*address, stand_in::PORT), facts.first_apex());
        if asked.context("nothing was changed (--force does not ask)")? == Asked::NotOurs {
            unasked += &format!("{address} is not this machine's: it was not asked whether muster answers\n");
        }
    }
    Ok(unasked)
}

/// Refuses to cut a machine off from all names but ours.
fn check_forwarding(config: &Config, facts: &Facts, path: &Path) -> anyhow::Result<()> {
    if !facts.forwards_all {
        bail!(
            "nothing was changed: muster is to be the only name server, but it forwards no other names; add\n\
             [forward]\n\".\" = [\"10.0.0.2\"]\nwith the name servers of your network to muster.toml (or say --force)"
        );
    }
    if asks_the_system(config, path) {
        bail!(
            "nothing was changed: [forward] asks \"system\", which is resolv.conf, and that would then be muster itself; \
             name the resolvers there, such as \".\" = [\"10.0.0.2\"] (or say --force)"
        );
    }
    Ok(())
}

/// Tells whether other names go to whom resolv.conf names.
fn asks_the_system(config: &Config, path_of_install: &Path) -> bool {
    config.forward.iter().flat_map(|forward| &forward.upstreams).any(|upstream| match upstream {
        UpstreamSpec::ResolvConf(path) => path == path_of_install,
        _ => false,
    })
}

fn done(result: anyhow::Result<String>) -> ExitCode {
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}
