//! How what was asked for is printed.

use std::process::ExitCode;

use clap::ColorChoice;
use serde::de::DeserializeOwned;

use super::{fail, table::Paint};

/// How to print.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Print what the API says, as JSON (docs/API.md)
    #[arg(long)]
    pub(super) json: bool,
    /// When to colour; NO_COLOR is respected
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

impl Output {
    pub(super) fn paint(&self) -> Paint {
        Paint::new(self.color)
    }
}

/// Reads a page of the API.
///
/// # Errors
/// The exit code, when it is of another version; that has been printed.
pub(super) fn reading<T: DeserializeOwned>(json: &str) -> Result<T, ExitCode> {
    serde_json::from_str(json).map_err(|error| {
        let what = "cannot read the server's answer: is it another version of muster?";
        fail(&anyhow::Error::new(error).context(what))
    })
}
