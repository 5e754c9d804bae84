//! Forwarders side by side: the muster binary, unbound and dnsmasq, each with the same upstream.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    child::{Cores, Server},
    question::{Kind, Template},
    results::MUSTER,
    rivals::{free_address, path, with_log},
};

/// A server that forwards queries and caches the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarder {
    Muster,
    Unbound,
    Dnsmasq,
}

impl Forwarder {
    pub(crate) const ALL: [Self; 3] = [Self::Muster, Self::Unbound, Self::Dnsmasq];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Muster => MUSTER,
            Self::Unbound => "unbound",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// Its Debian package; `None` for muster.
    pub(crate) const fn package(self) -> Option<&'static str> {
        match self {
            Self::Muster => None,
            Self::Unbound => Some("unbound"),
            Self::Dnsmasq => Some("dnsmasq-base"),
        }
    }

    /// Its version, as it reports it; `None` if it is not installed.
    pub(crate) fn version(self) -> Option<String> {
        let (program, flag) = match self {
            Self::Muster => return Some(muster::telemetry::VERSION.to_owned()),
            Self::Unbound => ("unbound", "-V"),
            Self::Dnsmasq => ("dnsmasq", "--version"),
        };
        let output = Command::new(path(program)).arg(flag).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.lines().next()?.split_whitespace();
        words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
    }

    /// Starts it in `folder`, an empty one of its own, with this upstream; returns when it answers
    /// about name `last`.
    pub(crate) fn start(
        self,
        upstream: SocketAddr,
        last: u32,
        folder: &Path,
        cores: Cores,
    ) -> anyhow::Result<Server> {
        fs::create_dir_all(folder)?;
        let address = free_address()?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        match self {
            Self::Muster => {
                let file = folder.join("muster.toml");
                fs::create_dir_all(folder.join("zones"))?;
                fs::write(
                    &file,
                    format!("[listen]\ndns = [\"{address}\"]\n\n[forward]\n\".\" = \"{upstream}\"\n"),
                )?;
                command.args([env!("CARGO_BIN_EXE_muster"), "serve", "--config"]).arg(file);
            }
            Self::Unbound => {
                let file = folder.join("unbound.conf");
                fs::write(&file, unbound_config(upstream, address))?;
                command.arg(path("unbound")).args(["-d", "-p", "-c"]).arg(file);
            }
            Self::Dnsmasq => {
                let (port, server) = (address.port(), format!("{}#{}", upstream.ip(), upstream.port()));
                command.arg(path("dnsmasq")).args(["--keep-in-foreground", "--conf-file=/dev/null"]).args([
                    "--no-resolv",
                    "--no-hosts",
                    "--bind-interfaces",
                    "--listen-address=127.0.0.1",
                    "--pid-file=",
                    "--user=root",
                    "--cache-size=10000",
                    "--max-cache-ttl=86400",
                    &format!("--port={port}"),
                    &format!("--server={server}"),
                ]);
            }
        }
        let log = File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Server::start_foreign(command, address, &Template::new(Kind::A), last, cores)
            .map_err(|error| with_log(error, folder))
    }
}

/// One thread, no validation, everything to the upstream.
fn unbound_config(upstream: SocketAddr, address: SocketAddr) -> String {
    let (port, server) = (address.port(), format!("{}@{}", upstream.ip(), upstream.port()));
    format!(
        "server:
    interface: 127.0.0.1
    port: {port}
    num-threads: 1
    username: \"\"
    chroot: \"\"
    directory: \"\"
    pidfile: \"\"
    use-syslog: no
    verbosity: 0
    do-ip6: no
    do-not-query-localhost: no
    module-config: \"iterator\"
    minimal-responses: yes
    msg-cache-size: 64m
    rrset-cache-size: 128m
    so-rcvbuf: 0
remote-control:
    control-enable: no
forward-zone:
    name: \".\"
    forward-addr: {server}
"
    )
}
