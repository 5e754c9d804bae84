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
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It refused us: token, certificate or permissions.
    #[error("permission denied: {0}")]
    Denied(String),
    /// It answered with an error.
    #[error("the source says: {0}")]
    Refused(String),
    /// It answered something that cannot be understood.
    #[error("cannot understand the answer: {0}")]
    Malformed(String),
    /// Something that the configuration names cannot be used, such as a token file.
    #[error("{0}")]
    Setup(String),
    /// The watch panicked.
    #[error("a bug in muster: panicked: {0}")]
    Panic(String),
    /// The program is stopping: nobody takes updates any more.
    #[error("stopping")]
    Closed,
}

impl WatchError {
    /// The error's kind as metrics and logs count it.
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

    /// Makes a `Connect` of any error.
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

/// Runs a watch; a panic in it is a failure as any other. Left alone it would end the watch's task for good, and what
/// the watch said last would be answered for ever.
///
/// What the watch keeps between runs may be half changed then. It says everything anew in the next run, as after any
/// failure.
///
/// # Errors
/// As the watch, and [`WatchError::Panic`].
pub(super) async fn caught(
    run: impl Future<Output = Result<Infallible, WatchError>>,
) -> Result<Infallible, WatchError> {
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// The error of a panic; its message may hold a piece of what the source sent.
fn panicked(panic: &(dyn Any + Send)) -> WatchError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    WatchError::Panic(excerpt(text))
}

/// The beginning of a text that a source sent, on one line: what fits into a log line.
pub(super) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 300;
    one_line(text, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_message_of_a_panic_is_kept_and_cut() {
        let message = async |run| match caught(run).await {
            Err(WatchError::Panic(message)) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(async { panic!("oh") }.boxed()).await, "oh");
        let long = "x".repeat(10_000);
        assert_eq!(message(async move { panic!("{long}") }.boxed()).await, "x".repeat(300));
        assert_eq!(message(async { std::panic::panic_any(7) }.boxed()).await, "without a message");
    }
}
