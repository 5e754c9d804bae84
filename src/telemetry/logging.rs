//! Logs to stderr, one line an event, as text or as JSON.

use std::io;

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The filter if none is given.
const DEFAULT: &str = "info";

/// The default directive, in front of the user's filter, so that the filter can override it. The
/// Kubernetes client logs each failed request as an error, but the source that sent the request
/// reports the failure already.
const BASE: &str = "kube_client=off";

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error(
        "the log filter \"{filter}\" is invalid; write for example \"info\" or \"info,muster::source=debug\""
    )]
    Filter {
        /// The given filter.
        filter: String,
        /// The cause.
        source: tracing_subscriber::filter::ParseError,
    },
    /// It names a module without a level, which looks like a level that does not exist.
    #[error(
        "the log filter has {word:?}, which is no level: the levels are error, warn, info, debug and trace; \
         for a module, write \"{word}=debug\""
    )]
    Level {
        /// The word.
        word: String,
    },
    /// The process has a subscriber already.
    #[error("logs are set up already")]
    Again,
}

/// Sets up logs for the whole process. `filter` is like `info,muster::source=debug`, and `info` if
/// absent or empty. The Kubernetes client's own lines are left out unless the filter names
/// `kube_client`. `json` writes one object a line. Text is in color on a terminal, unless
/// `NO_COLOR` or `CLICOLOR` says otherwise.
///
/// # Errors
/// When the filter is invalid, or logs are set up already.
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

/// Parses a filter; an empty one, from an empty environment variable, counts as absent.
fn parse(filter: Option<&str>) -> Result<EnvFilter, LogError> {
    let filter = filter.filter(|filter| !filter.trim().is_empty()).unwrap_or(DEFAULT);
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let words = filter.split(',').map(str::trim).filter(|word| !word.is_empty());
    if let Some(word) = words.into_iter().find(|word| !word.contains(['=', '[', ':']) && !is_level(word)) {
        return Err(LogError::Level { word: word.to_owned() });
    }
    EnvFilter::builder()
        .with_regex(false)
        .parse(format!("{BASE},{filter}"))
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::absent(None, "kube_client=off,info")]
    #[case::empty(Some(" "), "kube_client=off,info")]
    #[case::a_level(Some("warn"), "kube_client=off,warn")]
    #[case::by_module(Some("muster::source=trace"), "muster::source=trace,kube_client=off")]
    #[case::with_the_client(Some("info,kube_client=debug"), "kube_client=debug,info")]
    fn the_filter_is_info_by_default(#[case] filter: Option<&str>, #[case] expected: &str) {
        assert_eq!(parse(filter).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("verbose", Some("verbose"))]
    #[case("info, hyper", Some("hyper"))]
    #[case("OFF", None)]
    #[case("muster::source,info", None)]
    fn a_bare_word_must_be_a_level(#[case] filter: &str, #[case] refused: Option<&str>) {
        let word = match parse(Some(filter)) {
            Err(LogError::Level { word }) => Some(word),
            other => other.map(|_| None).unwrap(),
        };
        assert_eq!(word.as_deref(), refused);
    }

    #[rstest]
    #[case::by_default(None, false)]
    #[case::at_every_level(Some("trace"), false)]
    #[case::when_named(Some("info,kube_client=error"), true)]
    #[case::when_a_module_of_it_is_named(Some("kube_client::client=error,muster=info"), true)]
    fn the_kubernetes_client_logs_only_when_named(#[case] filter: Option<&str>, #[case] expected: bool) {
        let registry = tracing_subscriber::registry().with(parse(filter).unwrap());
        tracing::subscriber::with_default(registry, || {
            let client = tracing::enabled!(target: "kube_client::client::builder", tracing::Level::ERROR);
            assert_eq!(client, expected);
            assert!(tracing::enabled!(target: "muster::source", tracing::Level::ERROR), "ours");
        });
    }

    #[test]
    fn an_invalid_filter_is_named() {
        let error = parse(Some("info,muster=loud")).unwrap_err();
        assert!(error.to_string().contains("\"info,muster=loud\""), "{error}");
    }
}
