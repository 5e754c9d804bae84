//! Printing, shared by all commands: `--json`, `--color`, results and errors.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anstream::AutoStream;
use serde::de::DeserializeOwned;

/// How to print a result.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// Print the API's JSON (docs/API.md)
    #[arg(long)]
    pub(super) json: bool,
    /// When to use color; `auto` respects NO_COLOR and CLICOLOR
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: clap::ColorChoice,
}

impl OutputArgs {
    /// Prints a styled text; the styles are stripped where `--color` or the terminal says so.
    pub(super) fn print_styled(&self, text: &str) {
        let choice = match self.color {
            clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
            clap::ColorChoice::Always => anstream::ColorChoice::Always,
            clap::ColorChoice::Never => anstream::ColorChoice::Never,
        };
        let _ = AutoStream::new(io::stdout(), choice).write_all(text.as_bytes());
    }
}

/// Prints to standard output. A closed pipe is not a failure: the reader has seen enough.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a result, or the error with its causes.
pub(super) fn finish(result: anyhow::Result<String>) -> ExitCode {
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// Prints an error with its causes.
pub(super) fn fail(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "muster: {error:#}");
    ExitCode::FAILURE
}

/// Parses a page of the API.
///
/// # Errors
/// The exit code, when the page is from another version of muster; the error has been printed.
pub(super) fn parse_page<T: DeserializeOwned>(json: &str) -> Result<T, ExitCode> {
    serde_json::from_str(json).map_err(|error| {
        let message = "cannot read the server's answer: is it another version of muster?";
        fail(&anyhow::Error::new(error).context(message))
    })
}
