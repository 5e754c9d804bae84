//! Reading response bodies: limits of silence and of size.

use std::{pin::pin, time::Duration};

use http_body::Body;
use http_body_util::BodyExt as _;
use tokio_util::bytes::{Bytes, BytesMut};

use crate::source::{
    WatchError,
    body::{BodyError, connection_broke},
};

/// Reads a body of at most `limit` bytes. Its parts may come slowly, but with no pause longer than
/// `silence`: a large response over a slow link needs its time.
///
/// # Errors
/// [`WatchError::Timeout`] after a longer pause, [`WatchError::Connect`] when the body breaks off,
/// [`WatchError::Refused`] when it is larger than `limit`.
pub(super) async fn read<B>(body: B, limit: usize, silence: Duration) -> Result<Bytes, WatchError>
where
    B: Body<Data = Bytes, Error: Into<BodyError>>,
{
    let mut body = pin!(body);
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(silence, body.frame()).await;
        let Some(frame) = frame.map_err(|_| WatchError::Timeout(silence))? else {
            return Ok(bytes.freeze());
        };
        let frame = frame.map_err(|error| connection_broke(&*error.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
}

fn too_large(limit: usize) -> WatchError {
    WatchError::Refused(format!(
        "more than {} MiB, the limit of one response; if this is a service, select fewer of its instances: \
         set \"tags\" or \"filter\" of the member",
        limit >> 20
    ))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    /// A body of `parts` parts, with this pause before each one.
    fn slow(parts: usize, pause: Duration) -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(stream::iter(0..parts).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from_static(b"12345")))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_read_as_long_as_it_is_not_silent() {
        let second = Duration::from_secs(1);
        let body = read(slow(100, 9 * second), 500, 10 * second).await.unwrap();
        assert_eq!(body.len(), 500, "after 900 s");
        let error = read(slow(2, 11 * second), 500, 10 * second).await.unwrap_err();
        assert_eq!(error.to_string(), "no response within 10s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_over_the_limit_says_what_to_do() {
        let error = read(slow(3, Duration::ZERO), 14, Duration::MAX).await.unwrap_err();
        assert!(matches!(&error, WatchError::Refused(text) if text.contains("\"filter\"")), "{error:?}");
        let whole = http_body_util::Full::<Bytes>::from("12345");
        assert!(matches!(read(whole, 4, Duration::MAX).await, Err(WatchError::Refused(_))));
    }
}
