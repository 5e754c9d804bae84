//! Sources: where instances come from.
//!
//! Each watch turns native events into [`Update`](crate::model::Update)s and sends them down one bounded channel; it
//! never sees the catalog. A watch just runs until it fails: waiting, trying again, noting the status and giving up on
//! what is too old is done in one place, [`supervise()`]. A method per event on the catalog was rejected: a channel keeps
//! a slow catalog from being re-entered and a slow source from holding it up.
//!
//! Imports [`crate::model`] and the settings in [`crate::config`].

mod backoff;
pub mod consul;
pub mod fixed;
pub mod kubernetes;
mod outbox;
mod supervise;
mod watch_error;

pub use backoff::Backoff;
pub use outbox::Outbox;
pub use supervise::{Output, SourceContext, Subject, Watch, supervise};
pub use watch_error::WatchError;

use crate::{
    config::MemberRule,
    model::{Instance, Member, NamedPort},
};

/// One member of a service with what the configuration says about it: what a source is given to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Whose instances they are.
    pub member: Member,
    /// What to ask for and what to add.
    pub rule: MemberRule,
}

impl Followed {
    /// Adds what the configuration gives every instance of the member: labels (which win) and the main port's name.
    #[must_use]
    pub fn dress(&self, mut instance: Instance) -> Instance {
        instance.labels = instance.labels.overlaid(&self.rule.labels);
        if let Some((name, protocol)) = &self.rule.port_name
            && instance.port != 0
        {
            let named = NamedPort { name: name.clone(), protocol: *protocol, port: instance.port };
            if !instance.named_ports.contains(&named) {
                instance.named_ports = instance.named_ports.iter().cloned().chain([named]).collect();
            }
        }
        instance
    }
}
