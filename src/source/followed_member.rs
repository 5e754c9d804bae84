//! A member together with its settings.

use crate::{
    config::MemberRule,
    model::{Instance, Member, NamedPort},
};

/// One member of a service and its settings: what a source is given to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedMember {
    /// The member that reports the instances.
    pub member: Member,
    /// What to query the source for, and what to add to each instance.
    pub rule: MemberRule,
}

impl FollowedMember {
    /// Adds the member's labels and the name of the main port to an instance. The member's labels
    /// win.
    #[must_use]
    pub fn apply_rule(&self, mut instance: Instance) -> Instance {
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
