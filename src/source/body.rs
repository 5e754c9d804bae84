//! HTTP response bodies of sources: reading one with a limit, and the error when it breaks off.

use std::error::Error;

use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio_util::bytes::Bytes;

use super::watch_error::WatchError;

/// Any error of a body.
pub(super) type BodyError = Box<dyn Error + Send + Sync>;

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`WatchError::Malformed`] when the body is longer, [`WatchError::Connect`] when it breaks off.
pub(super) async fn read_body<B>(body: B, limit: usize) -> Result<Bytes, WatchError>
where
    B: Body<Error: Into<BodyError>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(WatchError::Malformed(format!("the response is larger than {limit} bytes")))
        }
        Err(error) => Err(connection_broke(&*error)),
    }
}

/// The error of a body that breaks off. Only the root cause is kept: the errors above it repeat it.
pub(super) fn connection_broke(error: &(dyn Error + 'static)) -> WatchError {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    WatchError::Connect(anyhow::anyhow!("the connection broke: {root}"))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_body_of_the_limit_passes_and_a_longer_one_fails() {
        let body = || Full::<Bytes>::from("12345");
        assert_eq!(read_body(body(), 5).await.unwrap(), "12345");
        let error = read_body(body(), 4).await.unwrap_err();
        assert!(
            matches!(&error, WatchError::Malformed(text) if text.contains("larger than 4 bytes")),
            "{error:?}"
        );
    }
}
