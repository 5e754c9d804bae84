//! Feeds: list and watch of one collection of objects, as one stream of changes.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::{io, marker::PhantomData, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use http_body_util::BodyExt as _;
use kube::{
    api::{ListParams, WatchParams},
    core::{Request, WatchEvent},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::StreamReader,
};
use tracing::debug;

use super::{
    client::{Answer, SharedClient},
    collection::{Collection, Object},
    endpoint_table::EndpointTable,
    json::List,
    timing::Timing,
};
use crate::source::{
    WatchError,
    body::{connection_broke, read_body},
    watch_error::excerpt,
};

/// A change of a collection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// All objects there are.
    All(Vec<T>),
    /// One object, new or changed.
    Applied(T),
    /// One object is gone, or no longer meets the selector; as it was last.
    Deleted(T),
}

/// Lists and watches a collection.
#[derive(Debug)]
pub(super) struct Feed<T> {
    clients: Arc<SharedClient>,
    collection: Collection,
    timing: Timing,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            clients: Arc::clone(&self.clients),
            collection: self.collection.clone(),
            timing: self.timing.clone(),
            kind: PhantomData,
        }
    }
}

impl<T: Object> Feed<T> {
    /// Objects in one page of a list: what client-go asks for.
    const PAGE: u32 = 500;
    /// Longest page, in bytes. An object has at most 1.5 MiB, what etcd takes; usual pods have 5 to 20 KiB.
    const LONGEST_PAGE: usize = 128 << 20;
    /// Longest event, in bytes.
    const LONGEST_EVENT: usize = 8 << 20;

    pub(super) fn new(clients: Arc<SharedClient>, collection: Collection, timing: Timing) -> Self {
        Self { clients, collection, timing, kind: PhantomData }
    }

    /// Returns the changes, beginning with [`Change::All`]; ends with the first error.
    ///
    /// Waiting for the next change can be given up and taken up again without losing any.
    pub(super) fn changes(&self) -> impl Stream<Item = Result<Change<T>, WatchError>> + Send + use<T> {
        let session = Session { feed: self.clone(), state: State::List, listed: None, watched: None };
        stream::try_unfold(session, |mut session| async move {
            let change = session.next().await?;
            Ok(Some((change, session)))
        })
    }

    fn request(&self) -> Request {
        Request::new(self.collection.path.as_str())
    }
}

/// One run of a feed, from a list on.
struct Session<T> {
    feed: Feed<T>,
    state: State,
    /// When the last list began.
    listed: Option<Instant>,
    /// When the last watch began.
    watched: Option<Instant>,
}

enum State {
    /// To list.
    List,
    /// To watch from this version on.
    Watch(String),
    /// Watching.
    Open(Box<Events>),
}

/// An open watch.
struct Events {
    /// Its events, one a line.
    lines: BoxStream<'static, Result<String, LinesCodecError>>,
    /// The version reached.
    version: String,
    /// When it must have ended.
    deadline: Instant,
    limit: Duration,
}

impl<T: Object> Session<T> {
    async fn next(&mut self) -> Result<Change<T>, WatchError> {
        loop {
            match &mut self.state {
                State::List => {
                    pause(&mut self.listed, self.feed.timing.pause).await;
                    if let Some((objects, version)) = self.feed.list().await? {
                        self.state = State::Watch(version);
                        return Ok(Change::All(objects));
                    }
                    debug!(path = self.feed.collection.path, "the list expired in the middle; listing anew");
                }
                State::Watch(version) => {
                    let version = std::mem::take(version);
                    pause(&mut self.watched, self.feed.timing.pause).await;
                    self.state = self.feed.open(version).await?;
                }
                State::Open(events) => match events.next().await? {
                    None => self.state = State::Watch(std::mem::take(&mut events.version)),
                    Some(line) if line.is_empty() => {}
                    Some(line) => match take::<T>(events, &line)? {
                        Taken::Change(change) => return Ok(change),
                        Taken::Nothing => {}
                        Taken::Gone => self.state = State::List,
                    },
                },
            }
        }
    }
}

impl<T: Object> Feed<T> {
    /// Returns all objects and the version of the list; `None` when it has expired between two pages.
    async fn list(&self) -> Result<Option<(Vec<T>, String)>, WatchError> {
        let mut objects = Vec::new();
        let mut rest = None;
        // Pages may be empty, but not for ever.
        for _ in 0..EndpointTable::MOST {
            let Some(page) = self.page(rest.take()).await? else { return Ok(None) };
            objects.extend(page.items.unwrap_or_default().into_iter().map(T::from_json));
            if objects.len() > EndpointTable::MOST {
                break;
            }
            rest = page.metadata.rest.filter(|rest| !rest.is_empty());
            if rest.is_none() {
                let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                let version = version.ok_or_else(|| {
                    WatchError::Malformed("the list has no metadata.resourceVersion".to_owned())
                })?;
                return Ok(Some((objects, version)));
            }
        }
        Err(WatchError::Refused(format!("more than {} objects; narrow the selector", EndpointTable::MOST)))
    }

    async fn page(&self, rest: Option<String>) -> Result<Option<List<T::Json>>, WatchError> {
        let parameters = ListParams {
            label_selector: self.collection.labels.clone(),
            limit: Some(Self::PAGE),
            continue_token: rest,
            ..ListParams::default()
        };
        let request = match self.collection.metadata_only {
            true => self.request().list_metadata(&parameters),
            false => self.request().list(&parameters),
        };
        let limit = self.timing.answer;
        let deadline = Instant::now() + limit;
        let body = match self.clients.get(request, limit).await? {
            Answer::Body(body) => body,
            Answer::Gone => return Ok(None),
        };
        let bytes = timeout_at(deadline, read_body(body, Self::LONGEST_PAGE)).await;
        let bytes = bytes.map_err(|_| WatchError::Timeout(limit))??;
        let page = serde_json::from_slice(&bytes).map_err(|error| {
            WatchError::Malformed(format!("a page of the list: {}", excerpt(&error.to_string())))
        })?;
        Ok(Some(page))
    }

    /// Opens a watch from `version` on, or says that a list is needed.
    async fn open(&self, version: String) -> Result<State, WatchError> {
        let seconds = rand::random_range(self.timing.watch_seconds.clone());
        let parameters = WatchParams {
            label_selector: self.collection.labels.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = match self.collection.metadata_only {
            true => self.request().watch_metadata(&parameters, &version),
            false => self.request().watch(&parameters, &version),
        };
        let limit = Duration::from_secs(u64::from(seconds)) + self.timing.grace;
        let deadline = Instant::now() + limit;
        Ok(match self.clients.get(request, limit).await? {
            // Asking for this version again would be answered in the same way for ever.
            Answer::Gone => State::List,
            Answer::Body(body) => {
                let bytes = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
                let codec = LinesCodec::new_with_max_length(Self::LONGEST_EVENT);
                let lines = FramedRead::new(bytes, codec).boxed();
                State::Open(Box::new(Events { lines, version, deadline, limit }))
            }
        })
    }
}

impl Events {
    /// Returns the next line; `None` when the server has ended the watch.
    async fn next(&mut self) -> Result<Option<String>, WatchError> {
        // The server ends a watch after `timeoutSeconds`; one that lasts longer is a connection that has died, or
        // an end that got lost.
        let line = timeout_at(self.deadline, self.lines.next()).await;
        match line.map_err(|_| WatchError::Timeout(self.limit))?.transpose() {
            Ok(line) => Ok(line),
            Err(LinesCodecError::MaxLineLengthExceeded) => {
                Err(WatchError::Malformed("an event of the watch is too long".to_owned()))
            }
            Err(LinesCodecError::Io(error)) => Err(connection_broke(&error)),
        }
    }
}

/// What came of one event.
enum Taken<T> {
    Change(Change<T>),
    Nothing,
    Gone,
}

/// Reads one event and notes the version that it reaches.
fn take<T: Object>(events: &mut Events, line: &str) -> Result<Taken<T>, WatchError> {
    let malformed =
        |error: String| WatchError::Malformed(format!("an event of the watch: {}", excerpt(&error)));
    let event = serde_json::from_str::<WatchEvent<T::Json>>(line).map_err(|error| match error.is_eof() {
        true => WatchError::Malformed("the watch ended in the middle of an event".to_owned()),
        false => malformed(error.to_string()),
    })?;
    let mut reach = |json: &T::Json| {
        let version = T::version(json);
        if version.is_empty() {
            return Err(malformed("its object has no metadata.resourceVersion".to_owned()));
        }
        version.clone_into(&mut events.version);
        Ok(())
    };
    Ok(match event {
        WatchEvent::Added(json) | WatchEvent::Modified(json) => {
            reach(&json)?;
            Taken::Change(Change::Applied(T::from_json(json)))
        }
        WatchEvent::Deleted(json) => {
            reach(&json)?;
            Taken::Change(Change::Deleted(T::from_json(json)))
        }
        WatchEvent::Bookmark(mark) => {
            // An empty one would mean "from any version on", and what was deleted meanwhile would stay.
            if !mark.metadata.resource_version.is_empty() {
                events.version = mark.metadata.resource_version;
            }
            Taken::Nothing
        }
        WatchEvent::Error(status) => match status.code {
            410 => Taken::Gone,
            401 | 403 => {
                return Err(WatchError::Denied(format!("{}: {}", status.code, excerpt(&status.message))));
            }
            code => return Err(WatchError::Refused(format!("{code}: {}", excerpt(&status.message)))),
        },
    })
}

/// What to say of a feed that ends without an error, which none does.
pub(super) fn ended() -> WatchError {
    WatchError::Connect(anyhow::anyhow!("the feed has ended"))
}

/// Waits until `least` has passed since the last time, so that a server that ends everything at once is not run over.
async fn pause(last: &mut Option<Instant>, least: Duration) {
    if let Some(last) = *last {
        sleep_until(last + least).await;
    }
    *last = Some(Instant::now());
}
