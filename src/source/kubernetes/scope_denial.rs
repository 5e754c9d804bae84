//! What happens when a token may not read the objects of all namespaces.

use std::{collections::BTreeSet, convert::Infallible};

use tokio::sync::watch;

use crate::source::WatchError;

/// The kinds of objects that members are followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObjectKind {
    Pods,
    EndpointSlices,
}

/// The kinds that the token may not read in all namespaces at once, as far as is known.
pub(super) type DeniedKinds = watch::Sender<BTreeSet<ObjectKind>>;

/// Given to a watch of the whole cluster whose members can be followed by namespace instead.
#[derive(Clone, Debug)]
pub(super) struct ScopeDenial {
    pub(super) kind: ObjectKind,
    pub(super) denied: DeniedKinds,
    /// Whether the denial is a failure besides: something needs the whole cluster.
    pub(super) is_failure: bool,
}

impl ScopeDenial {
    /// Notes that the cluster was denied if `ended` says so. A denial that is no failure is then
    /// never returned: another watch is about to take over.
    pub(super) async fn check(
        this: Option<&Self>,
        ended: Result<Infallible, WatchError>,
    ) -> Result<Infallible, WatchError> {
        let Some(Self { kind, denied, is_failure }) = this else { return ended };
        let Err(WatchError::Denied(text)) = &ended else { return ended };
        // 401 is about who asks, not about what for.
        if !text.starts_with("403") {
            return ended;
        }
        denied.send_if_modified(|denied| denied.insert(*kind));
        match is_failure {
            true => ended,
            false => std::future::pending().await,
        }
    }
}
