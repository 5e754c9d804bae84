//! Addresses of instances that are names of our own services: circles are found here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::instances::{HostInstance, ServiceInstances};
use crate::model::{Instance, Member, Name, Target};

/// The host names that the members of one source answer with.
///
/// Registrations of other systems may hold the name that muster gives to the same service, and two
/// services may each hold the other's name. A client that follows such CNAME records never gets to
/// an address.
#[derive(Debug, Default)]
pub(super) struct HostNames(Mutex<HostNamesOfMembers>);

/// By the service's name and the place of the member.
#[derive(Debug, Default)]
struct HostNamesOfMembers(BTreeMap<Name, BTreeMap<u16, BTreeSet<Name>>>);

/// The host names that lead back to their own service, by instance.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Circles {
    /// Those that have their node's address instead, as in Consul's own DNS.
    pub(super) by_node: Vec<String>,
    /// Those that are left out, since their node has no usable address either.
    pub(super) removed: Vec<String>,
}

impl HostNames {
    /// Replaces the host names among `parsed` that lead back to the member's service, and remembers
    /// the others for the next check.
    pub(super) fn break_circles(&self, member: &Member, parsed: &mut ServiceInstances) -> Circles {
        let mut circles = Circles::default();
        let mut removed = BTreeSet::new();
        let mut kept = BTreeSet::new();
        let mut known = self.lock();
        for HostInstance { position, host, node } in std::mem::take(&mut parsed.hosts) {
            let Some(instance) = parsed.instances.get_mut(position) else {
                debug_assert!(false, "positions are those of instances");
                continue;
            };
            if !known.leads_to(&host, &member.service) {
                kept.insert(host);
                continue;
            }
            let text = format!("{} ({host})", instance.id);
            match node {
                Some(target @ Target::Addresses(_)) => {
                    instance.target = target;
                    circles.by_node.push(text);
                }
                _ => {
                    removed.insert(position);
                    circles.removed.push(text);
                }
            }
        }
        known.replace(member, kept);
        drop(known);
        let mut position = 0..;
        parsed.instances.retain(|_: &Instance| position.next().is_none_or(|at| !removed.contains(&at)));
        circles
    }

    /// Forgets a member.
    pub(super) fn remove(&self, member: &Member) {
        self.lock().replace(member, BTreeSet::new());
    }

    /// Held over both check and replacement: of two members that are read at the same time, one
    /// must see the other's names.
    fn lock(&self) -> MutexGuard<'_, HostNamesOfMembers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostNamesOfMembers {
    /// Whether `host` is a name of `service` or leads to one, through any number of services.
    fn leads_to(&self, host: &Name, service: &Name) -> bool {
        let mut visited = BTreeSet::new();
        let mut pending = vec![host];
        while let Some(name) = pending.pop() {
            if name.is_at_or_below(service) {
                return true;
            }
            if visited.insert(name) {
                pending.extend(self.host_names_of(name));
            }
        }
        false
    }

    /// The host names of the service that `name` belongs to: it is the service's own name, or that
    /// of an instance or subset below it.
    fn host_names_of(&self, name: &Name) -> impl Iterator<Item = &Name> {
        let names = std::iter::successors(Some(name.clone()), Name::parent);
        names.filter_map(|name| self.0.get(&name)).flat_map(BTreeMap::values).flatten()
    }

    /// Replaces the host names of a member; without any it is forgotten.
    fn replace(&mut self, member: &Member, hosts: BTreeSet<Name>) {
        if !hosts.is_empty() {
            self.0.entry(member.service.clone()).or_default().insert(member.place, hosts);
        } else if let Some(members) = self.0.get_mut(&member.service) {
            members.remove(&member.place);
            if members.is_empty() {
                self.0.remove(&member.service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SourceId, SourceKind};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn member(service: &str) -> Member {
        let source = SourceId { kind: SourceKind::Consul, name: "vms".into() };
        Member { service: name(service), source, place: 0 }
    }

    #[test]
    fn circles_of_any_length_are_found() {
        let mut names = HostNamesOfMembers::default();
        names.replace(&member("a.shop"), [name("b.shop"), name("db.example")].into());
        names.replace(&member("b.shop"), [name("x.c.shop")].into());
        for (host, service, leads) in [
            ("vm.shop", "vm.shop", true),
            ("vm-1.vm.shop", "vm.shop", true),
            ("vm2.shop", "vm.shop", false),
            ("b.shop", "c.shop", true),
            ("a.shop", "c.shop", true),
            ("w-1.a.shop", "c.shop", true),
            ("db.example", "c.shop", false),
            ("a.shop", "d.shop", false),
        ] {
            assert_eq!(names.leads_to(&name(host), &name(service)), leads, "{host} to {service}");
        }
        names.replace(&member("b.shop"), BTreeSet::new());
        assert!(!names.leads_to(&name("a.shop"), &name("c.shop")));
    }

    #[test]
    fn a_circle_of_other_services_ends_the_search() {
        let mut names = HostNamesOfMembers::default();
        names.replace(&member("a.shop"), [name("b.shop")].into());
        names.replace(&member("b.shop"), [name("a.shop")].into());
        assert!(!names.leads_to(&name("a.shop"), &name("c.shop")));
    }
}
