//! Knot DNS and NSD with the same names and records, each with one answering thread.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    child::{Cores, Server},
    question::{APEX, INSTANCES, Kind, PORT, Template, service_label},
    server,
};

/// A name server of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    Knot,
    Nsd,
}

impl Rival {
    pub(crate) const ALL: [Self; 2] = [Self::Knot, Self::Nsd];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Knot => "Knot",
            Self::Nsd => "NSD",
        }
    }

    /// Its Debian package.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Knot => "knot",
            Self::Nsd => "nsd",
        }
    }

    /// Its version, as it reports it; `None` if it is not installed.
    pub(crate) fn version(self) -> Option<String> {
        let (program, flag) = match self {
            Self::Knot => ("knotd", "--version"),
            Self::Nsd => ("nsd", "-v"),
        };
        let output = Command::new(path(program)).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let first = String::from_utf8_lossy(&text).lines().next()?.to_owned();
        let version =
            first.split_whitespace().rev().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Some(version.unwrap_or(&first).to_owned())
    }

    /// Starts it in `folder`, an empty one of its own, on the zone file; returns when it answers.
    pub(crate) fn start(self, setup: &Setup<'_>, folder: &Path, cores: Cores) -> anyhow::Result<Server> {
        fs::create_dir_all(folder)?;
        let address = free_address()?;
        let config = folder.join("server.conf");
        let text = match self {
            Self::Knot => knot_config(setup, folder, address),
            Self::Nsd => nsd_config(setup, folder, address),
        };
        fs::write(&config, text)?;
        // The kernel ends the server when this thread dies for any reason. Its pid is the one that
        // was started.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        match self {
            Self::Knot => command.arg(path("knotd")).arg("-c").arg(&config),
            Self::Nsd => command.arg(path("nsd")).arg("-d").arg("-c").arg(&config),
        };
        let log = File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Server::start_foreign(command, address, &Template::new(setup.kind), setup.services - 1, cores)
            .map_err(|error| with_log(error, folder))
    }
}

/// The content and settings of a rival.
pub(crate) struct Setup<'a> {
    pub(crate) zone: &'a Path,
    pub(crate) services: u32,
    pub(crate) kind: Kind,
    pub(crate) rotate: bool,
}

/// Writes a zone with so many services: for each its addresses, its SRV records, and their targets'
/// addresses.
pub(crate) fn write_zone(path: &Path, services: u32) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(out, "$ORIGIN {APEX}.\n$TTL 0")?;
    // A name server outside of the zone, so that no answer adds its address.
    writeln!(out, "@ SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 1\n@ NS ns.invalid.")?;
    for service in 0..services {
        let label = service_label(service);
        for number in 0..INSTANCES {
            let address = server::address(service, number);
            writeln!(
                out,
                "{label} A {address}\n{label} SRV 0 1 {PORT} i{number}.{label}\ni{number}.{label} A {address}"
            )?;
        }
    }
    Ok(out.flush()?)
}

fn knot_config(setup: &Setup<'_>, folder: &Path, address: SocketAddr) -> String {
    let (folder, zone, port) = (folder.display(), setup.zone.display(), address.port());
    let rotate = if setup.rotate { "on" } else { "off" };
    format!(
        "server:
    rundir: \"{folder}\"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    udp-max-payload: 1232
    answer-rotation: {rotate}
log:
  - target: stderr
    any: warning
database:
    storage: \"{folder}\"
template:
  - id: default
    storage: \"{folder}\"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    semantic-checks: off
zone:
  - domain: {APEX}
    file: \"{zone}\"
"
    )
}

fn nsd_config(setup: &Setup<'_>, folder: &Path, address: SocketAddr) -> String {
    let (folder, zone, port) = (folder.display(), setup.zone.display(), address.port());
    let rotate = if setup.rotate { "yes" } else { "no" };
    // Minimal responses drop the addresses of SRV targets, which the others add; for A they drop
    // the NS record, which the others do not send. So each kind of query gets the setting that
    // makes the answers alike.
    let minimal = if setup.kind == Kind::Srv { "no" } else { "yes" };
    format!(
        "server:
    server-count: 1
    ip-address: 127.0.0.1
    port: {port}
    do-ip6: no
    username: \"\"
    zonesdir: \"{folder}\"
    database: \"\"
    pidfile: \"{folder}/nsd.pid\"
    zonelistfile: \"{folder}/zone.list\"
    xfrdfile: \"{folder}/xfrd.state\"
    xfrdir: \"{folder}\"
    receive-buffer-size: 4194304
    ipv4-edns-size: 1232
    verbosity: 0
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    minimal-responses: {minimal}
    round-robin: {rotate}
remote-control:
    control-enable: no
zone:
    name: {APEX}
    zonefile: \"{zone}\"
"
    )
}

/// The path of a server's program: Debian installs it where a plain user's PATH does not look.
pub(crate) fn path(program: &str) -> String {
    let usual = format!("/usr/sbin/{program}");
    if Path::new(&usual).exists() { usual } else { program.to_owned() }
}

/// A loopback address whose port was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

pub(crate) fn with_log(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    anyhow::anyhow!("{error:#}; its log ends with:\n{}", last.join("\n"))
}
