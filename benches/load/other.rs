//! Two muster binaries side by side: the one built here, and another one, such as the last release.
//!
//! Both serve the same zone file, so only the program differs. [`server`](crate::server) cannot be
//! compared with the other binary: it is part of this build, and its instances do not come from a
//! file.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::{
    child::{Cores, Server},
    question::{APEX, INSTANCES, Kind, PORT, Template, service_label},
    rivals::{free_address, with_log},
    server::address,
};

/// The environment variable with the path of the other binary.
const OTHER_BINARY: &str = "MUSTER_OTHER";
/// The name in tables of the binary built here.
pub(crate) const THIS: &str = "muster (this)";
/// The name in tables of the other binary.
pub(crate) const OTHER: &str = "muster (other)";

/// A muster binary.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) title: &'static str,
    program: PathBuf,
}

impl Binary {
    /// The binary built here and the other one; none if no other one is named.
    pub(crate) fn to_compare() -> anyhow::Result<Vec<Self>> {
        let Some(other) = env::var_os(OTHER_BINARY) else { return Ok(Vec::new()) };
        let other =
            fs::canonicalize(&other).with_context(|| format!("{OTHER_BINARY}={}", other.display()))?;
        ensure!(other.is_file(), "{OTHER_BINARY}={} is not a program", other.display());
        Ok(vec![
            Self { title: THIS, program: PathBuf::from(env!("CARGO_BIN_EXE_muster")) },
            Self { title: OTHER, program: other },
        ])
    }

    /// The version that it prints.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(&self.program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Starts it in `folder`, an empty one of its own, with so many services; returns when it
    /// answers.
    pub(crate) fn start(&self, services: u32, folder: &Path, cores: Cores) -> anyhow::Result<Server> {
        let address = free_address()?;
        let file = folder.join("muster.toml");
        fs::write(&file, format!("[listen]\ndns = [\"{address}\"]\nworkers = 1\n"))?;
        fs::create_dir_all(folder.join("zones"))?;
        fs::write(folder.join("zones/bench.toml"), zone(services)?)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(&self.program).args(["serve", "--config"]).arg(file);
        let log = File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Server::start_foreign(command, address, &Template::new(Kind::A), services - 1, cores)
            .map_err(|error| with_log(error, folder))
    }
}

/// A zone file with the names and addresses that all servers of a run have.
fn zone(services: u32) -> anyhow::Result<String> {
    let mut zone = format!("namespace = \"{APEX}\"\nttl = 0\nmax_answers = {INSTANCES}\n");
    for service in 0..services {
        writeln!(zone, "[services.{}]\nfrom = [{{ static = [", service_label(service))?;
        for number in 0..INSTANCES {
            let address = address(service, number);
            writeln!(zone, "  {{ id = \"i{number}\", address = \"{address}\", port = {PORT} }},")?;
        }
        zone += "] }]\n";
    }
    Ok(zone)
}
