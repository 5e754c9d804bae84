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
    /// Its full name.
    pub name: Name,
    /// What its answers look like.
    pub answers: AnswerSettings,
    /// What it is another name of; `None`: a service of its own.
    pub alias: Option<Alias>,
    /// Where its instances come from; at least one, or none for an alias.
    pub from: Vec<MemberRule>,
    /// Which clients get which groups, the first match wins; whoever matches none gets all instances.
    pub routes: Vec<Route>,
    /// Tiers of instances, of which the first that is fit enough is answered.
    pub failover: Option<Failover>,
    /// Further names for some of its instances.
    pub names: Vec<SubsetName>,
}

impl ServiceDefinition {
    /// The service's members, with the numbers by which sources and catalog know them.
    pub fn members(&self) -> impl Iterator<Item = (Member, &MemberRule)> {
        (0..).zip(&self.from).map(|(place, rule)| {
            let member = Member { service: self.name.clone(), source: rule.source.clone(), place };
            (member, rule)
        })
    }
}

/// `alias = "…"`: a service that is another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// Another service of the same namespace, answered with that one's instances under this name.
    Service(Name),
    /// A name that is none of ours, answered as a CNAME.
    External(Name),
}

/// One entry of a service's `names`: a further name for some of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsetName {
    /// Its full name.
    pub name: Name,
    /// Which instances it has.
    pub filter: InstanceFilter,
}
