//! One open watch: reads the lines of its response and turns them into changes.

use std::{io, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http_body_util::BodyExt as _;
use kube::{client::Body, core::WatchEvent};
use tokio::time::{Instant, timeout_at};
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::StreamReader,
};

use super::collection::{Object, ObjectChange};
use crate::source::{WatchError, body::connection_broke, watch_error::excerpt};

/// A watch that the server has begun to answer.
pub(super) struct OpenWatch {
    /// The events, one a line.
    lines: BoxStream<'static, Result<String, LinesCodecError>>,
    /// The version reached.
    version: String,
    /// The time by which the server must have ended the watch.
    deadline: Instant,
    limit: Duration,
}

/// The next step of an open watch.
pub(super) enum WatchStep<T> {
    /// An object has changed.
    Change(ObjectChange<T>),
    /// The server has ended the watch; the next one starts at this version.
    Ended(String),
    /// The version has expired (410): the objects must be listed again.
    Gone,
}

/// The content of one event.
enum Event<T> {
    Change(ObjectChange<T>),
    Bookmark,
    Gone,
}

impl OpenWatch {
    /// The longest event in bytes.
    const EVENT_LIMIT: usize = 8 << 20;

    /// Makes a watch from its response. `version` is the version that it starts at; it must end
    /// by `deadline`, which is `limit` after the request.
    pub(super) fn new(body: Body, version: String, deadline: Instant, limit: Duration) -> Self {
        let bytes = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
        let lines = FramedRead::new(bytes, LinesCodec::new_with_max_length(Self::EVENT_LIMIT)).boxed();
        Self { lines, version, deadline, limit }
    }

    /// Returns the version reached.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Waits for the next step. Dropping the future loses no event.
    ///
    /// # Errors
    /// When the connection breaks, the server keeps the watch open too long, or an event is not
    /// valid.
    pub(super) async fn next<T: Object>(&mut self) -> Result<WatchStep<T>, WatchError> {
        while let Some(line) = self.next_line().await? {
            if line.is_empty() {
                continue;
            }
            match self.read_event(&line)? {
                Event::Change(change) => return Ok(WatchStep::Change(change)),
                Event::Bookmark => {}
                Event::Gone => return Ok(WatchStep::Gone),
            }
        }
        Ok(WatchStep::Ended(std::mem::take(&mut self.version)))
    }

    /// Returns the next line; `None` when the server has ended the watch.
    async fn next_line(&mut self) -> Result<Option<String>, WatchError> {
        // The server ends a watch after `timeoutSeconds`. If one lasts longer, the connection is
        // dead or its end was lost.
        let line = timeout_at(self.deadline, self.lines.next()).await;
        match line.map_err(|_| WatchError::Timeout(self.limit))?.transpose() {
            Ok(line) => Ok(line),
            Err(LinesCodecError::MaxLineLengthExceeded) => {
                let limit = Self::EVENT_LIMIT;
                Err(WatchError::Malformed(format!("an event of the watch is longer than {limit} bytes")))
            }
            Err(LinesCodecError::Io(error)) => Err(connection_broke(&error)),
        }
    }

    /// Parses one event and notes the version that it reaches.
    fn read_event<T: Object>(&mut self, line: &str) -> Result<Event<T>, WatchError> {
        let event =
            serde_json::from_str::<WatchEvent<T::Json>>(line).map_err(|error| match error.is_eof() {
                true => WatchError::Malformed("the watch ended in the middle of an event".to_owned()),
                false => malformed(&error.to_string()),
            })?;
        Ok(match event {
            WatchEvent::Added(json) | WatchEvent::Modified(json) => {
                self.reach(T::version(&json))?;
                Event::Change(ObjectChange::Applied(T::from_json(json)))
            }
            WatchEvent::Deleted(json) => {
                self.reach(T::version(&json))?;
                Event::Change(ObjectChange::Deleted(T::from_json(json)))
            }
            WatchEvent::Bookmark(bookmark) => {
                // An empty version would mean "any version": deletions in between would be lost.
                if !bookmark.metadata.resource_version.is_empty() {
                    self.version = bookmark.metadata.resource_version;
                }
                Event::Bookmark
            }
            WatchEvent::Error(status) => match status.code {
                410 => Event::Gone,
                401 | 403 => {
                    return Err(WatchError::Denied(format!("{}: {}", status.code, excerpt(&status.message))));
                }
                code => return Err(WatchError::Refused(format!("{code}: {}", excerpt(&status.message)))),
            },
        })
    }

    fn reach(&mut self, version: &str) -> Result<(), WatchError> {
        if version.is_empty() {
            return Err(malformed("its object has no metadata.resourceVersion"));
        }
        version.clone_into(&mut self.version);
        Ok(())
    }
}

fn malformed(problem: &str) -> WatchError {
    WatchError::Malformed(format!("an event of the watch: {}", excerpt(problem)))
}

#[cfg(test)]
mod tests {
    use super::{super::node::Node, *};

    #[tokio::test]
    async fn an_event_over_the_limit_is_malformed() {
        let body = Body::from(vec![b'x'; OpenWatch::EVENT_LIMIT + 1]);
        let limit = Duration::from_secs(60);
        let mut watch = OpenWatch::new(body, "1".to_owned(), Instant::now() + limit, limit);
        match watch.next::<Node>().await {
            Err(WatchError::Malformed(message)) => assert!(message.contains("longer than"), "{message}"),
            _ => panic!("expected a malformed event"),
        }
    }
}
