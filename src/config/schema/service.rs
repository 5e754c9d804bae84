//! `[services.NAME]`: one name and where its instances come from.

use super::{
    answer_settings::AnswerSettings,
    filter::InstanceFilter,
    member::MemberRule,
    routing::{Failover, Route},
};
use crate::model::{Member, Name};

/// `[services.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDefinition {
    /// The full name.
    pub name: Name,
    /// Settings of its answers.
    pub answers: AnswerSettings,
    /// The alias's target; `None` if the service has instances of its own.
    pub alias: Option<AliasTarget>,
    /// Where the instances come from; empty for an alias only.
    pub from: Vec<MemberRule>,
    /// Which clients get which groups; the first match wins, and a client without one gets all
    /// instances.
    pub routes: Vec<Route>,
    /// Tiers of instances; `None` if there is one tier for all.
    pub failover: Option<Failover>,
    /// Subset names, sorted by name.
    pub names: Vec<SubsetName>,
}

impl ServiceDefinition {
    /// The members, with the numbers by which sources and catalog know them.
    pub fn members(&self) -> impl Iterator<Item = (Member, &MemberRule)> {
        (0..).zip(&self.from).map(|(place, rule)| {
            let member = Member { service: self.name.clone(), source: rule.source.clone(), place };
            (member, rule)
        })
    }
}

/// `alias = "…"`: the service or external name that an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasTarget {
    /// A service of the same namespace, whose instances are answered under this name.
    Service(Name),
    /// An external name, answered as a CNAME.
    External(Name),
}

/// One entry of `names`: an additional name for some of a service's instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsetName {
    /// The full name.
    pub name: Name,
    /// The instances that it returns.
    pub filter: InstanceFilter,
}
