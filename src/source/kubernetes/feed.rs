//! Feeds: list and watch of one collection of objects, as one stream of changes.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{Stream, stream};
use kube::{
    api::{ListParams, WatchParams},
    core::Request,
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use super::{
    client::{ApiResponse, SharedClient},
    collection::{Collection, Object, ObjectChange},
    json::List,
    open_watch::{OpenWatch, WatchStep},
    timing::KubernetesTiming,
};
use crate::source::{WatchError, body::read_body, watch_error::excerpt};

/// Lists and watches a collection.
#[derive(Debug)]
pub(super) struct Feed<T> {
    client: Arc<SharedClient>,
    collection: Collection,
    timing: KubernetesTiming,
    /// Where the last run failed, if the next one can go on there.
    reached: Arc<Mutex<Option<ReachedVersion>>>,
    kind: PhantomData<fn() -> T>,
}

/// A version up to which every change has been applied.
#[derive(Debug)]
struct ReachedVersion {
    version: String,
    /// When the server last told that it was current.
    confirmed: Instant,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            collection: self.collection.clone(),
            timing: self.timing.clone(),
            reached: Arc::clone(&self.reached),
            kind: PhantomData,
        }
    }
}

impl<T: Object> Feed<T> {
    /// Objects in one page of a list, the same as in client-go.
    const PAGE: u32 = 500;
    /// The longest page in bytes. etcd limits an object to 1.5 MiB; most pods have 5 to 20 KiB.
    const PAGE_LIMIT: usize = 128 << 20;

    pub(super) fn new(client: Arc<SharedClient>, collection: Collection, timing: KubernetesTiming) -> Self {
        Self { client, collection, timing, reached: Arc::default(), kind: PhantomData }
    }

    /// Returns the changes; ends with the first error. The first change is [`ObjectChange::All`],
    /// or [`ObjectChange::Resumed`] if the last run failed for a reason that leaves its version
    /// valid. A reader that fails to apply a change drops the stream, and the next run lists.
    ///
    /// Dropping a future that waits for the next change loses none.
    pub(super) fn changes(&self) -> impl Stream<Item = Result<ObjectChange<T>, WatchError>> + Send + use<T> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner).take();
        let reached = reached.filter(|reached| reached.confirmed.elapsed() < self.timing.resume);
        let run = FeedRun {
            feed: self.clone(),
            confirmed: reached.as_ref().map_or_else(Instant::now, |reached| reached.confirmed),
            is_resuming: reached.is_some(),
            step: reached.map_or(NextStep::List, |reached| NextStep::Watch(reached.version)),
            gone: 0,
            listed: None,
            watched: None,
        };
        stream::try_unfold(run, |mut run| async move {
            let change = run.next().await?;
            Ok(Some((change, run)))
        })
    }

    /// Returns all objects and the version of the list; `None` when it expired between two pages.
    async fn list(&self) -> Result<Option<(Vec<T>, String)>, WatchError> {
        let _permit = self.client.list_permit().await?;
        let mut objects = Vec::new();
        let mut continue_token = None;
        // Pages may be empty, but not forever.
        for _ in 0..Collection::MAX_OBJECTS {
            let Some(page) = self.page(continue_token.take()).await? else { return Ok(None) };
            objects.extend(page.items.unwrap_or_default().into_iter().map(T::from_json));
            if objects.len() > Collection::MAX_OBJECTS {
                break;
            }
            continue_token = page.metadata.continue_token.filter(|token| !token.is_empty());
            if continue_token.is_none() {
                let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                let version = version.ok_or_else(|| {
                    WatchError::Malformed("the list has no metadata.resourceVersion".to_owned())
                })?;
                return Ok(Some((objects, version)));
            }
        }
        Err(Collection::too_many())
    }

    async fn page(&self, continue_token: Option<String>) -> Result<Option<List<T::Json>>, WatchError> {
        let parameters = ListParams {
            label_selector: self.collection.labels.clone(),
            limit: Some(Self::PAGE),
            continue_token,
            ..ListParams::default()
        };
        let request = match self.collection.metadata_only {
            true => self.request().list_metadata(&parameters),
            false => self.request().list(&parameters),
        };
        self.client.ready().await;
        let limit = self.timing.page;
        let deadline = Instant::now() + limit;
        let body = match self.client.get(request, limit).await? {
            ApiResponse::Body(body) => body,
            ApiResponse::Gone => return Ok(None),
        };
        let bytes = timeout_at(deadline, read_body(body, Self::PAGE_LIMIT)).await;
        let bytes = bytes.map_err(|_| WatchError::Timeout(limit))??;
        let page = serde_json::from_slice(&bytes).map_err(|error| {
            WatchError::Malformed(format!("a page of the list: {}", excerpt(&error.to_string())))
        })?;
        Ok(Some(page))
    }

    /// Opens a watch at `version`; returns [`NextStep::List`] when the version has expired.
    async fn open(&self, version: String) -> Result<NextStep, WatchError> {
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
        self.client.ready().await;
        let limit = Duration::from_secs(u64::from(seconds)) + self.timing.grace;
        let deadline = Instant::now() + limit;
        Ok(match self.client.get(request, limit.min(self.timing.head)).await? {
            // Another request for this version would get the same response forever.
            ApiResponse::Gone => NextStep::List,
            ApiResponse::Body(body) => {
                NextStep::Read(Box::new(OpenWatch::new(body, version, deadline, limit)))
            }
        })
    }

    fn request(&self) -> Request {
        Request::new(self.collection.path.as_str())
    }
}

/// One run of a feed, up to its first failure.
struct FeedRun<T> {
    feed: Feed<T>,
    step: NextStep,
    /// When the server last told that the version was current: by a list, an event, or the end of a
    /// watch.
    confirmed: Instant,
    /// Whether the run began without a list, and the first watch has not been opened yet.
    is_resuming: bool,
    /// How many versions have expired in a row.
    gone: u32,
    /// When the last list began.
    listed: Option<Instant>,
    /// When the last watch began.
    watched: Option<Instant>,
}

enum NextStep {
    /// List all objects.
    List,
    /// Open a watch at this version.
    Watch(String),
    /// Read an open watch.
    Read(Box<OpenWatch>),
}

impl<T: Object> FeedRun<T> {
    /// After so many expired versions in a row, the feed fails: no list is fresh enough to be
    /// watched.
    const MAX_GONE: u32 = 5;

    /// Returns the next change. Notes the version if the error leaves it valid.
    async fn next(&mut self) -> Result<ObjectChange<T>, WatchError> {
        let next = self.advance().await;
        if next.as_ref().is_err_and(leaves_version_valid) {
            let version = match &self.step {
                NextStep::List => None,
                NextStep::Watch(version) => Some(version.clone()),
                NextStep::Read(watch) => Some(watch.version().to_owned()),
            };
            let reached = version.map(|version| ReachedVersion { version, confirmed: self.confirmed });
            *self.feed.reached.lock().unwrap_or_else(PoisonError::into_inner) = reached;
        }
        next
    }

    async fn advance(&mut self) -> Result<ObjectChange<T>, WatchError> {
        loop {
            match &mut self.step {
                NextStep::List => {
                    pause(&mut self.listed, self.feed.timing.pause).await;
                    self.is_resuming = false;
                    if let Some((objects, version)) = self.feed.list().await? {
                        self.confirmed = Instant::now();
                        self.step = NextStep::Watch(version);
                        return Ok(ObjectChange::All(objects));
                    }
                    self.expired("the list expired between two pages")?;
                }
                NextStep::Watch(version) => {
                    pause(&mut self.watched, self.feed.timing.pause).await;
                    let version = version.clone();
                    self.step = self.feed.open(version).await?;
                    match self.step {
                        NextStep::List => self.expired("the version to watch from has expired")?,
                        _ if std::mem::take(&mut self.is_resuming) => return Ok(ObjectChange::Resumed),
                        _ => {}
                    }
                }
                NextStep::Read(watch) => {
                    let step = watch.next().await?;
                    match step {
                        WatchStep::Change(change) => {
                            (self.confirmed, self.gone) = (Instant::now(), 0);
                            return Ok(change);
                        }
                        WatchStep::Ended(version) => {
                            (self.confirmed, self.gone) = (Instant::now(), 0);
                            self.step = NextStep::Watch(version);
                        }
                        WatchStep::Gone => {
                            self.step = NextStep::List;
                            self.expired("the version of the watch has expired")?;
                        }
                    }
                }
            }
        }
    }

    /// Notes that a version has expired (410).
    fn expired(&mut self, problem: &str) -> Result<(), WatchError> {
        self.gone += 1;
        debug!(path = self.feed.collection.path, "{problem}; listing again");
        match self.gone >= Self::MAX_GONE {
            true => Err(WatchError::Refused(format!("410: {problem}, {} times in a row", self.gone))),
            false => Ok(()),
        }
    }
}

/// Whether a watch may start at the version that was reached before this error.
///
/// Not after 403: an account that may list but not watch gets a list with each attempt. Not for a
/// version that the server does not have yet: its state may be that of a backup.
fn leaves_version_valid(error: &WatchError) -> bool {
    match error {
        WatchError::Connect(_) | WatchError::Timeout(_) | WatchError::Setup(_) => true,
        WatchError::Denied(text) => text.starts_with("401"),
        WatchError::Refused(text) => !text.contains("Too large resource version"),
        _ => false,
    }
}

/// The error for a feed that ends without one.
pub(super) fn ended() -> WatchError {
    debug_assert!(false, "a feed ends only with an error");
    WatchError::Connect(anyhow::anyhow!("the feed has ended"))
}

/// Waits until `interval` has passed since `last`, so that a server that ends every response at
/// once is not flooded.
async fn pause(last: &mut Option<Instant>, interval: Duration) {
    if let Some(last) = *last {
        sleep_until(last + interval).await;
    }
    *last = Some(Instant::now());
}
