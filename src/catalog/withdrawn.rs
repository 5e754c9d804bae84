//! Withdrawn reports: a bad report counts for a while after its source withdraws it.
//!
//! A pod that is deleted is draining, and then its object is gone. Consul still passes its last
//! check, so without this the pod would be answered again, dead.

use std::time::{Duration, Instant};

use super::member_state::{DatedInstance, Report};
use crate::model::{Health, Instance, Member, Target};

/// How long a withdrawn report counts, unless another report of its socket changes.
const GRACE: Duration = Duration::from_secs(30);

/// The withdrawn reports of one service that still count.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    reports: Vec<WithdrawnReport>,
}

#[derive(Debug)]
struct WithdrawnReport {
    member: Member,
    dated: DatedInstance,
    until: Instant,
}

impl Withdrawn {
    /// Notes that one report of a member changes.
    pub(super) fn note(
        &mut self,
        member: &Member,
        before: Option<&DatedInstance>,
        after: Option<&Instance>,
        now: Instant,
    ) {
        if before.map(|before| &before.instance) == after {
            return;
        }
        if let Some(after) = after {
            self.reports.retain(|report| !shares_socket(&report.dated.instance, after));
        }
        let gone = before.filter(|before| after.is_none_or(|after| !shares_socket(&before.instance, after)));
        if let Some(gone) = gone.filter(|gone| gone.instance.health >= Health::Unhealthy) {
            let mut dated = DatedInstance { withdrawn: true, ..gone.clone() };
            dated.instance.reason = Some("withdrawn by the source a moment ago".into());
            self.reports.push(WithdrawnReport { member: member.clone(), dated, until: now + GRACE });
        }
    }

    /// The reports, to merge with those of the members.
    pub(super) fn reports(&self) -> impl Iterator<Item = Report<'_>> {
        self.reports.iter().map(|report| (&report.member, &report.dated))
    }

    /// When the next report stops to count.
    pub(super) fn until(&self) -> Option<Instant> {
        self.reports.iter().map(|report| report.until).min()
    }

    /// Drops the reports whose grace has ended, and those that `is_needed` does not need.
    pub(super) fn retain(&mut self, now: Instant, is_needed: impl Fn(&Member, &Instance) -> bool) {
        self.reports.retain(|report| report.until > now && is_needed(&report.member, &report.dated.instance));
    }
}

/// Whether two reports are about one instance.
fn shares_socket(one: &Instance, other: &Instance) -> bool {
    (one.port == other.port || one.port == 0 || other.port == 0)
        && match (&one.target, &other.target) {
            (Target::Addresses(addresses), Target::Addresses(others)) => {
                addresses.iter().any(|address| others.contains(address))
            }
            (Target::Host(host), Target::Host(other)) => host == other,
            _ => false,
        }
}
