//! Why watches end, panics included.

use std::{any::Any, convert::Infallible, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

use crate::model::one_line;

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The source could not be reached, or the connection broke.
    #[error("cannot reach the source")]
    Connect(#[source] anyhow::Error),
    /// The source did not respond in time.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The source denied access: wrong token, certificate or permissions.
    #[error("permission denied: {0}")]
    Denied(String),
    /// The source responded with an error, or with more than muster takes.
    #[error("source returned {0}")]
    Refused(String),
    /// The source responded with something that muster cannot parse.
    #[error("cannot parse the response: {0}")]
    Malformed(String),
    /// Something that the configuration names cannot be used, such as a token file.
    #[error("{0}")]
    Setup(String),
    /// The watch panicked.
    #[error("internal error (panic): {0}")]
    Panic(String),
    /// The source or the program is stopping.
    #[error("stopping")]
    Closed,
}

impl WatchError {
    /// The error's kind, as metrics and logs name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Denied(_) => "denied",
            Self::Refused(_) => "refused",
            Self::Malformed(_) => "malformed",
            Self::Setup(_) => "setup",
            Self::Panic(_) => "panic",
            Self::Closed => "closed",
        }
    }

    /// Makes a [`Connect`](Self::Connect) of any error.
    pub fn connect(error: impl Into<anyhow::Error>) -> Self {
        Self::Connect(error.into())
    }

    /// The error with its causes, for status and logs.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Runs a watch and turns a panic in it into an error. Uncaught, a panic would end the watch's task
/// for good, and the watch's last state would be answered forever.
///
/// The panic may leave the watch's fields half changed. That is harmless: the next run starts with
/// the full state, as after any failure.
///
/// # Errors
/// The watch's own errors, and [`WatchError::Panic`].
pub(super) async fn catch_panic(
    run: impl Future<Output = Result<Infallible, WatchError>>,
) -> Result<Infallible, WatchError> {
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| Err(panic_error(&*panic)))
}

/// The error of a panic. The panic's message may hold a piece of what the source sent.
fn panic_error(panic: &(dyn Any + Send)) -> WatchError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    WatchError::Panic(excerpt(text))
}

/// The beginning of a text that a source sent, on one line and short enough for a log line.
pub(super) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 300;
    one_line(text, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panics_message_is_kept_and_cut() {
        let message = async |run| match catch_panic(run).await {
            Err(WatchError::Panic(message)) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(async { panic!("oh") }.boxed()).await, "oh");
        let long = "x".repeat(10_000);
        assert_eq!(message(async move { panic!("{long}") }.boxed()).await, "x".repeat(300));
        assert_eq!(message(async { std::panic::panic_any(7) }.boxed()).await, "without a message");
    }
}
