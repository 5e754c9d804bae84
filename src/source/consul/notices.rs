//! Notices: which watches must query although they hold no connection.
//!
//! Each watch has a mailbox of one. A notice that arrives while the watch queries stays in it, so
//! the watch queries once more: its response may be older than the notice.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

/// The watches of one source that receive notices, and whether there are notices.
#[derive(Debug)]
pub(super) struct Notices {
    active: watch::Sender<bool>,
    watches: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    next: u64,
    by_key: BTreeMap<u64, Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    /// The name of the service in Consul, in lower case; `None`: the watch follows the catalog.
    service: Option<Box<str>>,
    /// The nodes in the watch's last response ([`node_key`]), sorted.
    nodes: Box<[u64]>,
    mailbox: Arc<Mailbox>,
}

/// What a notice is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Names of services, in lower case.
    pub(super) services: BTreeSet<Box<str>>,
    /// Nodes whose own checks have changed, and with them the health of all their services
    /// ([`node_key`]).
    pub(super) nodes: BTreeSet<u64>,
}

/// A node's name in a short form. Two nodes with the same key cost a query too many, and nothing
/// else.
pub(super) fn node_key(node: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.nodes.is_empty()
    }

    fn concerns(&self, subscriber: &Subscriber) -> bool {
        subscriber.service.as_ref().is_some_and(|service| self.services.contains(service))
            || subscriber.nodes.iter().any(|node| self.nodes.contains(node))
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self { active: watch::Sender::new(false), watches: Mutex::default() }
    }
}

impl Notices {
    /// Sets whether every change leads to a notice.
    pub(super) fn set_active(&self, active: bool) {
        self.active.send_replace(active);
    }

    /// Adds a watch of a service or, with `None`, of the catalog; it leaves when the subscription is
    /// dropped.
    pub(super) fn subscribe(self: &Arc<Self>, service: Option<&str>) -> Subscription {
        let mut watches = self.lock();
        let key = watches.next;
        watches.next += 1;
        let mailbox = Arc::new(Mailbox::default());
        let subscriber = Subscriber {
            service: service.map(|service| service.to_lowercase().into()),
            nodes: Box::default(),
            mailbox: Arc::clone(&mailbox),
        };
        watches.by_key.insert(key, subscriber);
        drop(watches);
        Subscription { notices: Arc::clone(self), key, mailbox }
    }

    /// Notifies the watches that a change concerns.
    pub(super) fn notify(&self, changed: &Changed) {
        if changed.is_empty() {
            return;
        }
        for subscriber in self.lock().by_key.values().filter(|subscriber| changed.concerns(subscriber)) {
            subscriber.mailbox.put(None);
        }
    }

    /// The mailboxes of all watches: those of the catalog first, then those of services.
    pub(super) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        let watches = self.lock();
        let (services, catalog): (Vec<_>, Vec<_>) =
            watches.by_key.values().partition(|subscriber| subscriber.service.is_some());
        catalog.into_iter().chain(services).map(|subscriber| Arc::clone(&subscriber.mailbox)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watch's place among those that receive notices.
#[derive(Debug)]
pub(super) struct Subscription {
    notices: Arc<Notices>,
    key: u64,
    mailbox: Arc<Mailbox>,
}

/// Why a watch queries.
#[derive(Debug)]
pub(super) enum Notice {
    /// Something that concerns it has changed. It holds the permit, if there is one, until it has
    /// processed the response.
    Changed(Option<OwnedSemaphorePermit>),
    /// Nothing has, for long.
    Overdue,
    /// Notices have stopped: the watch must find changes by itself.
    Inactive,
}

impl Subscription {
    /// Whether every change leads to a notice.
    pub(super) fn is_active(&self) -> bool {
        *self.notices.active.borrow()
    }

    /// Waits for the next notice, `at_most` so long.
    pub(super) async fn next(&self, at_most: Duration) -> Notice {
        let mut active = self.notices.active.subscribe();
        tokio::select! {
            biased;
            permit = self.mailbox.take() => Notice::Changed(permit),
            _ = active.wait_for(|active| !active) => Notice::Inactive,
            () = tokio::time::sleep(at_most) => Notice::Overdue,
        }
    }

    /// Sets the nodes that the watch's instances are on ([`node_key`]).
    pub(super) fn set_nodes(&self, nodes: BTreeSet<u64>) {
        if let Some(subscriber) = self.notices.lock().by_key.get_mut(&self.key) {
            subscriber.nodes = nodes.into_iter().collect();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.notices.lock().by_key.remove(&self.key);
    }
}

/// Room for one notice.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    content: Mutex<Content>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Content {
    has_notice: bool,
    /// Whether the watch waits for a notice. Otherwise it queries, or has failed and waits to retry.
    is_awaited: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Mailbox {
    /// Puts a notice in. The permit is dropped unless the watch waits for a notice: others must not
    /// wait for a watch that has failed.
    pub(super) fn put(&self, permit: Option<OwnedSemaphorePermit>) {
        let mut content = self.lock();
        content.has_notice = true;
        if content.is_awaited && content.permit.is_none() {
            content.permit = permit;
        }
        drop(content);
        self.arrived.notify_one();
    }

    /// Waits for a notice and takes it out.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let _awaited = Awaited::new(self);
        loop {
            {
                let mut content = self.lock();
                if std::mem::take(&mut content.has_notice) {
                    return content.permit.take();
                }
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a mailbox as awaited. Dropping it gives back a permit that was not taken out.
struct Awaited<'a>(&'a Mailbox);

impl<'a> Awaited<'a> {
    fn new(mailbox: &'a Mailbox) -> Self {
        mailbox.lock().is_awaited = true;
        Self(mailbox)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut content = self.0.lock();
        content.is_awaited = false;
        content.permit = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    const LONG: Duration = Duration::from_secs(300);

    fn changed(services: &[&str], nodes: &[&str]) -> Changed {
        Changed {
            services: services.iter().map(|&service| service.into()).collect(),
            nodes: nodes.iter().map(|node| node_key(node)).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_notifies_the_watches_that_it_concerns() {
        let notices = Arc::new(Notices::default());
        notices.set_active(true);
        let [web, api, catalog] = [Some("Web"), Some("api"), None].map(|service| notices.subscribe(service));
        api.set_nodes([node_key("N1")].into());
        notices.notify(&changed(&["web"], &[]));
        assert!(matches!(web.next(LONG).await, Notice::Changed(None)), "by name, in any case");
        notices.notify(&changed(&["other"], &["n1"]));
        assert!(matches!(api.next(LONG).await, Notice::Changed(None)), "by node, in any case");
        for silent in [&web, &api, &catalog] {
            assert!(matches!(silent.next(LONG).await, Notice::Overdue));
        }
        notices.set_active(false);
        assert!(matches!(web.next(LONG).await, Notice::Inactive));
        drop(api);
        assert_eq!(notices.mailboxes().len(), 2, "a dropped subscription has left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_waits_for_a_busy_watch() {
        let notices = Arc::new(Notices::default());
        notices.set_active(true);
        let web = notices.subscribe(Some("web"));
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        notices.mailboxes()[0].put(Some(permit));
        assert_eq!(permits.available_permits(), 1, "a busy watch holds up nobody");
        assert!(matches!(web.next(LONG).await, Notice::Changed(None)), "the notice is kept");

        let waits = tokio::spawn(async move { web.next(LONG).await });
        tokio::task::yield_now().await;
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        notices.mailboxes()[0].put(Some(permit));
        let notice = waits.await.unwrap();
        assert!(matches!(notice, Notice::Changed(Some(_))), "{notice:?}");
        assert_eq!(permits.available_permits(), 0, "the watch holds it");
        drop(notice);
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_catalog_is_asked_first() {
        let notices = Arc::new(Notices::default());
        let (_web, catalog) = (notices.subscribe(Some("web")), notices.subscribe(None));
        let mailboxes = notices.mailboxes();
        assert!(Arc::ptr_eq(&mailboxes[0], &catalog.mailbox));
        assert_eq!(mailboxes.len(), 2);
    }
}
