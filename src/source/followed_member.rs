//! A member together with its settings.

use crate::{
    config::MemberRule,
    model::{Instance, Member, NamedPort},
};

/// One member of a service with what the configuration says about it: what a source is given to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedMember {
    /// Whose instances they are.
    pub member: Member,
    /// What to ask for and what to add.
    pub rule: MemberRule,
}

impl FollowedMember {
    /// Adds what the configuration gives every instance of the member: labels (which win) and the main port's name.
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
