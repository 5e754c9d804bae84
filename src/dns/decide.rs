//! Deciding: what happens to one request. Pure, apart from the turns that it takes.
//!
//! ```text
//!  client ── denied ─▶ Drop            not in [access] allow ─▶ Refuse
//!  packet ── noise ──▶ Drop            malformed, other opcode or EDNS version ─▶ Refuse
//!  cookie ── required, but not good ─▶ Refuse
//!  name ──── ours ───▶ Answer ── a CNAME to a name of ours ────▶ Chase
//!     │                    └──── a CNAME to an external name ──▶ Forward, with our CNAME
//!     └───── external ─▶ Forward, or Refuse
//! ```
//!
//! The answer path and explanations both call [`decide`], so each rule exists once. A decision
//! depends only on its arguments and on the turns of at most three cursors.

use hickory_proto::rr::{DNSClass, RecordType};

use super::{
    access::{AccessLevel, CookieCheck, SentCookie},
    exchange::{ClientOptions, Exchange, is_forwardable},
    find::{Finder, QuestionKey},
    records::{Chased, Cname, Content, Decision, DropReason, Fallback, Forward, Refusal, ZoneRecords},
    request::{Edns, Query, Request},
    rotation::Rotation,
    settings::Settings,
    trace::Trace,
};
use crate::catalog::{Lookup, Zone};

/// Decides what happens to the request of an exchange. `options` is `None` if the request's cookie
/// or client subnet is malformed.
///
/// *Cost*: no allocation and no lock. Reads nothing but its arguments.
#[inline]
pub(super) fn decide<'a>(
    exchange: &Exchange<'a>,
    options: Option<&'a ClientOptions>,
    settings: &'a Settings,
    rotation: &mut Rotation,
    trace: &mut impl Trace,
) -> Decision<'a> {
    let Exchange { request, context, access, view, lookup } = *exchange;
    if access.level == AccessLevel::Denied {
        return Decision::Drop(DropReason::Denied);
    }
    let query = match request {
        Request::Query(query) => query,
        Request::CookieOnly(_, edns) => return Decision::Refuse(cookie_only(edns, options, access.level)),
        Request::OtherOpcode(_) => return Decision::Refuse(Refusal::OtherOpcode),
        Request::Malformed(_) => return Decision::Refuse(Refusal::Malformed),
        Request::Noise => return Decision::Drop(DropReason::Noise),
    };
    let Some(options) = options else { return Decision::Refuse(Refusal::Malformed) };
    // Before the cookie, which cannot be read in another version (RFC 6891 section 6.1.3).
    if query.edns.as_ref().is_some_and(|edns| edns.opt.version != 0) {
        return Decision::Refuse(Refusal::Version);
    }
    if !options.is_proven(context) && settings.access.requires_cookie(access) {
        return Decision::Refuse(Refusal::Cookie { has_new: options.has_new_cookie() });
    }
    if access.level == AccessLevel::Refused {
        return Decision::Refuse(Refusal::NotAllowed);
    }
    let asked = QuestionKey {
        name: query.question.name,
        qtype: RecordType::from(query.question.qtype),
        class: DNSClass::from(query.question.class),
    };
    let mut finder = Finder { settings, view, context, on_behalf_of: options.on_behalf_of, rotation, trace };
    let own = finder.find(asked, lookup);
    // Checked last, because nearly all answers are our own.
    let may_forward = || {
        access.level == AccessLevel::AllNames
            && settings.active_forwarder().is_some()
            && is_forwardable(query)
    };
    match own {
        Ok(Content::Zone(zone, ZoneRecords::Cname(cname))) => {
            follow(&mut finder, zone, cname, query, may_forward)
        }
        own if falls_through(&own, asked, settings) => {
            let fallback = match own {
                Ok(content) => Fallback::Answer(content),
                Err(_) => Fallback::Refuse(external_refusal(access.level, settings)),
            };
            match (may_forward(), fallback) {
                (true, fallback) => Decision::Forward(Forward::Query(fallback)),
                (false, Fallback::Answer(content)) => Decision::Answer(content),
                (false, Fallback::Refuse(refusal)) => Decision::Refuse(refusal),
            }
        }
        Ok(content) => Decision::Answer(content),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// The reply to a query for a cookie only. "If such a query provided just a Client Cookie and no
/// Server Cookie, the response SHALL have the RCODE NOERROR" (RFC 7873 section 5.4).
#[cold]
fn cookie_only(edns: &Edns<'_>, options: Option<&ClientOptions>, level: AccessLevel) -> Refusal {
    match (options.map(|options| options.cookie), edns.cookie) {
        _ if level == AccessLevel::Refused => Refusal::NotAllowed,
        (Some(CookieCheck::Good(_)), _) => Refusal::CookieOnly { is_bad: false },
        (Some(CookieCheck::New(_)), SentCookie::Halves(_, server)) => {
            Refusal::CookieOnly { is_bad: server != [0; 16] }
        }
        _ => Refusal::Malformed,
    }
}

/// Whether an upstream may answer instead (fallthrough): for external names, for names in a
/// reverse zone that no instance has, since the network's resolver may know other addresses there,
/// and for DS of an apex, which its parent has (RFC 4035 section 3.1.4.1). Special names are never
/// forwarded.
#[inline]
fn falls_through(own: &Result<Content<'_>, Refusal>, asked: QuestionKey<'_>, settings: &Settings) -> bool {
    match own {
        Err(Refusal::NoForwarding) => true,
        Ok(Content::Zone(zone, ZoneRecords::NoName)) if zone.is_reverse() => {
            settings.specials.load().find(asked.name, asked.qtype).is_none()
        }
        Ok(Content::Zone(zone, ZoneRecords::NoData)) if asked.qtype == RecordType::DS => {
            zone.apex.wire() == asked.name
        }
        _ => false,
    }
}

/// Why an external name is refused when it is not forwarded.
fn external_refusal(level: AccessLevel, settings: &Settings) -> Refusal {
    match (level, settings.active_forwarder()) {
        (_, None) => Refusal::NoForwarding,
        (AccessLevel::AllNames, Some(_)) => Refusal::NoSuffix,
        (_, Some(_)) => Refusal::NotAllowedToForward,
    }
}

/// Follows a CNAME of ours one step: to a name in our namespaces (RFC 1034 section 4.3.2, step 3a),
/// or to an upstream, as a resolver does (section 5.3.3).
#[cold]
fn follow<'a, T: Trace>(
    finder: &mut Finder<'_, 'a, T>,
    zone: &'a Zone,
    cname: Cname<'a>,
    query: &Query<'a>,
    may_forward: impl FnOnce() -> bool,
) -> Decision<'a> {
    let qtype = RecordType::from(query.question.qtype);
    let target = cname.target.wire();
    match finder.view.lookup(target) {
        Lookup::External => {
            let wants_target = query.header.recursion_desired
                && !matches!(qtype, RecordType::CNAME | RecordType::ANY)
                && finder.settings.active_forwarder().is_some_and(|to| to.covers(target));
            if wants_target && may_forward() {
                Decision::Forward(Forward::Target(zone, cname))
            } else {
                Decision::Answer(Content::Zone(zone, ZoneRecords::Cname(cname)))
            }
        }
        lookup if matches!(qtype, RecordType::A | RecordType::AAAA) => {
            let asked = QuestionKey { name: target, qtype, class: DNSClass::IN };
            let chased = finder.find(asked, lookup).map_or(Chased::Failed, Chased::Content);
            Decision::Chase(cname, chased)
        }
        _ => Decision::Answer(Content::Zone(zone, ZoneRecords::Cname(cname))),
    }
}
