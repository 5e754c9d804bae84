//! PTR records: from addresses to the instances that have them.

use hickory_proto::rr::RecordType;

use super::{
    answer::{Answer, Facts, Records},
    encode::Writer,
    question::Question,
};
use crate::{
    catalog::{Lookup, View, Zone},
    model::Name,
};

/// Whether somebody else may be asked for what `answer` is to be said of: a name in none of our zones, or one in a reverse zone that
/// no instance has, as the rest of a private network is known to its resolver. What is special is nobody else's.
pub(super) fn may_be_others(
    answer: &Answer<'_>,
    lookup: Lookup<'_>,
    question: &Question<'_>,
    facts: &Facts<'_>,
) -> bool {
    match answer {
        Answer::Refused => matches!(lookup, Lookup::External),
        Answer::Authoritative(zone, Records::NoName) if zone.is_reverse() => {
            facts.specials.load().find(question.name, question.qtype.into()).is_none()
        }
        _ => false,
    }
}

/// What a zone says at its apex to a question for PTR: a network may be one address.
#[cold]
pub(super) fn at_apex<'a>(zone: &Zone, name: &[u8], view: &'a View<'_>) -> Records<'a> {
    let names = if zone.is_reverse() { view.instances_at(name) } else { None };
    names.map_or(Records::NoData, |names| Records::Pointers(names.as_slice(), zone.ttl))
}

/// The names of the instances at an address.
#[cold]
pub(super) fn at_address<'a>(zone: &Zone, names: &'a [Name], qtype: RecordType) -> Records<'a> {
    match qtype {
        RecordType::PTR | RecordType::ANY => Records::Pointers(names, zone.ttl),
        _ => Records::NoData,
    }
}

impl Writer<'_> {
    /// Writes as many of the names as fit.
    #[cold]
    pub(super) fn pointers(&mut self, zone: &Zone, names: &[Name], ttl: u32) {
        let owner = Self::in_question(0);
        for name in names {
            let before = self.answers;
            self.answer(owner, RecordType::PTR, ttl, |w| w.name_in_zone(zone, name));
            if self.answers == before {
                return;
            }
        }
    }
}
