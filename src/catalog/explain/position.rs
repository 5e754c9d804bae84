//! Positions: where a name is within its service.

use crate::{
    catalog::service::{Answers, Position, Service},
    model::{ExplainedService, MemberStatus, NameKind},
};

/// The position of a name within its service: a [`Position`] that outlives the view.
pub(super) enum NamePosition {
    /// The service itself.
    Itself,
    /// One instance.
    Instance {
        /// The instance's label.
        label: String,
        /// Whether the instance has TXT data.
        has_txt: bool,
    },
    /// A named port: `_port._proto` as labels in wire format.
    Port(Box<[u8]>),
    /// Above a named port.
    AbovePort,
    /// None of these.
    Nowhere,
}

impl NamePosition {
    /// Finds the position of the labels in front of a service's name.
    pub(super) fn find(service: &Service, below: &[u8]) -> Self {
        match service.position(below) {
            Position::Itself => Self::Itself,
            Position::Instance(instance) => Self::Instance {
                label: String::from_utf8_lossy(below.get(1..).unwrap_or_default()).into_owned(),
                has_txt: service.instances.txt(instance.label).is_some(),
            },
            Position::Port(_) => Self::Port(below.into()),
            Position::AbovePort => Self::AbovePort,
            Position::Nowhere => Self::Nowhere,
        }
    }

    /// The kind of name, and a note for people.
    pub(super) fn describe(&self, service: &Service, explained: &ExplainedService) -> (NameKind, String) {
        let name = &service.name;
        match self {
            Self::Itself => match &service.answers {
                Answers::Alias(target) => (NameKind::Alias, format!("a CNAME to {target}, an external name")),
                _ => (NameKind::Service, itself(service, explained)),
            },
            Self::Instance { .. } => {
                (NameKind::Instance, format!("an instance of {name}, answered whatever its health"))
            }
            Self::Port(_) => (NameKind::Port, format!("a named port of {name}: it has SRV records")),
            Self::AbovePort => (NameKind::EmptyNonTerminal, format!("named ports of {name} are below it")),
            Self::Nowhere if service.all_synced => {
                (NameKind::NxDomain, format!("{name} has no such instance or port"))
            }
            Self::Nowhere => (
                NameKind::NotSynced,
                format!("no such instance or port of {name} yet: not all of its members have synced"),
            ),
        }
    }
}

fn itself(service: &Service, explained: &ExplainedService) -> String {
    let ExplainedService { name, service: canonical, members, .. } = explained;
    let mut note =
        if name == canonical { "a service".to_owned() } else { format!("another name of {canonical}") };
    let (expired, unsynced): (Vec<_>, Vec<_>) = members
        .iter()
        .filter(|member| member.state != MemberStatus::Synced)
        .partition(|member| member.state == MemberStatus::Expired);
    for (what, members) in [("not synced yet", &unsynced), ("lost for longer than max_stale", &expired)] {
        let labels: Vec<_> = members.iter().map(|member| member.label()).collect();
        if !labels.is_empty() {
            note += &format!("; {what}: {}", labels.join(", "));
        }
    }
    if !explained.not_synced.is_empty() {
        note += match service.has_eligible() {
            true => ", so the other members are answered",
            false => ", and no other member has eligible instances: SERVFAIL, not an empty answer",
        };
    } else if explained.instances.is_empty() {
        note += "; its sources report no instances";
    }
    note
}
