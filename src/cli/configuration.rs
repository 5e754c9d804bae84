//! `--config`: finding and loading the configuration.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice};

use crate::config::{self, Diagnostics, Listen, Loaded, Location};

/// Which configuration to use.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The server's file [default: ./muster.toml, then /etc/muster/muster.toml, then the bundled
    /// demo]
    #[arg(short, long, env = "MUSTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Finds and loads the configuration; prints its errors and warnings.
    ///
    /// # Errors
    /// The exit code, when the configuration cannot be used; the errors have been printed.
    pub(super) fn load(&self) -> Result<(Loaded, Location), ExitCode> {
        let location = config::find(self.config.as_deref());
        match location.load() {
            Ok(loaded) => {
                print_report(&loaded.warnings);
                Ok((loaded, location))
            }
            Err(errors) => {
                print_report(&errors);
                Err(ExitCode::from(2))
            }
        }
    }
}

impl ConfigArgs {
    /// Finds the configuration, and loads the addresses that its server listens on.
    ///
    /// # Errors
    /// As [`load`](Self::load), for mistakes in `muster.toml` only.
    pub(super) fn load_listen(&self) -> Result<Listen, ExitCode> {
        config::find(self.config.as_deref()).load_listen().map_err(|errors| {
            print_report(&errors);
            ExitCode::from(2)
        })
    }

    /// Whether there is no configuration, so that the demo's counts.
    pub(super) fn is_demo(&self) -> bool {
        matches!(config::find(self.config.as_deref()), Location::Demo)
    }
}

/// Prints diagnostics to standard error, in color on a terminal.
fn print_report(report: &Diagnostics) {
    if !report.is_empty() {
        let text = report.render(AutoStream::choice(&io::stderr()) != ColorChoice::Never);
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
    }
}
