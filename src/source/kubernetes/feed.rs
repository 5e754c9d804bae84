//! Feeds: list and watch of one collection of objects, as one stream of changes.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::{marker::PhantomData, sync::Arc, time::Duration};

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
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            collection: self.collection.clone(),
            timing: self.timing.clone(),
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
        Self { client, collection, timing, kind: PhantomData }
    }

    /// Returns the changes, beginning with [`ObjectChange::All`]; ends with the first error.
    ///
    /// Dropping a future that waits for the next change loses none.
    pub(super) fn changes(&self) -> impl Stream<Item = Result<ObjectChange<T>, WatchError>> + Send + use<T> {
        let run = FeedRun { feed: self.clone(), step: NextStep::List, listed: None, watched: None };
        stream::try_unfold(run, |mut run| async move {
            let change = run.next().await?;
            Ok(Some((change, run)))
        })
    }

    /// Returns all objects and the version of the list; `None` when it expired between two pages.
    async fn list(&self) -> Result<Option<(Vec<T>, String)>, WatchError> {
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
        Err(WatchError::Refused(format!(
            "more than {} objects; narrow the selector",
            Collection::MAX_OBJECTS
        )))
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
        let limit = Duration::from_secs(u64::from(seconds)) + self.timing.grace;
        let deadline = Instant::now() + limit;
        Ok(match self.client.get(request, limit).await? {
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

/// One run of a feed, from its first list on.
struct FeedRun<T> {
    feed: Feed<T>,
    step: NextStep,
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
    async fn next(&mut self) -> Result<ObjectChange<T>, WatchError> {
        loop {
            match &mut self.step {
                NextStep::List => {
                    pause(&mut self.listed, self.feed.timing.pause).await;
                    if let Some((objects, version)) = self.feed.list().await? {
                        self.step = NextStep::Watch(version);
                        return Ok(ObjectChange::All(objects));
                    }
                    debug!(
                        path = self.feed.collection.path,
                        "the list expired between two pages; starting over"
                    );
                }
                NextStep::Watch(version) => {
                    let version = std::mem::take(version);
                    pause(&mut self.watched, self.feed.timing.pause).await;
                    self.step = self.feed.open(version).await?;
                }
                NextStep::Read(watch) => match watch.next().await? {
                    WatchStep::Change(change) => return Ok(change),
                    WatchStep::Ended(version) => self.step = NextStep::Watch(version),
                    WatchStep::Gone => self.step = NextStep::List,
                },
            }
        }
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
