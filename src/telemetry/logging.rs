//! Logs: to stderr, as text or as JSON, one line an event.

use std::io;

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The filter where nothing is said.
const DEFAULT: &str = "info";

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "the log filter \"{filter}\" cannot be read; write for example \"info\" or \"info,muster::source=debug\""
    )]
    Filter {
        /// The filter as it was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something in the process takes logs already.
    #[error("logs are set up already")]
    Again,
}

/// Sets up logs for the whole process. `filter` is such as `info,muster::source=debug`; `info` where it says nothing.
/// `json` writes one object a line instead of text. Colours only where stderr is a terminal and `NO_COLOR` is not set.
///
/// # Errors
/// When the filter cannot be read, or logs are set up already.
pub fn init(filter: Option<&str>, json: bool) -> Result<(), LogError> {
    let filter = parse(filter)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let done = if json {
        registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
    } else {
        let has_color = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        registry.with(layer.with_ansi(has_color)).try_init()
    };
    done.map_err(|_| LogError::Again)
}

/// Reads a filter; one that is empty, as an empty environment variable gives it, says nothing.
fn parse(filter: Option<&str>) -> Result<EnvFilter, LogError> {
    let filter = filter.filter(|filter| !filter.trim().is_empty()).unwrap_or(DEFAULT);
    EnvFilter::builder()
        .with_regex(false)
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_said(None, "info")]
    #[case::empty_says_nothing(Some(" "), "info")]
    #[case::a_level(Some("warn"), "warn")]
    #[case::by_module(Some("muster::source=trace"), "muster::source=trace")]
    fn the_filter_is_info_unless_one_is_said(#[case] filter: Option<&str>, #[case] expected: &str) {
        assert_eq!(parse(filter).unwrap().to_string(), expected);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = parse(Some("info,muster=loud")).unwrap_err();
        assert!(error.to_string().contains("\"info,muster=loud\""), "{error}");
    }
}
