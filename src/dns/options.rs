//! The options that are for us: what those of a query say of who sent it, and what those of the answer say back.

use arrayvec::ArrayVec;

use super::{
    access::{CookieCheck, ServerCookie},
    question::{COOKIE, Edns},
    responder::{Context, Responder},
    subnet::{SUBNET_OPTION, SentSubnet},
};
use crate::{catalog::Lookup, model::Network};

/// Length of the COOKIE option in answers.
const COOKIE_OPTION: usize = 28;

/// The options of an answer's OPT record, as on the wire.
pub(super) type Options = ArrayVec<u8, { COOKIE_OPTION + SUBNET_OPTION }>;

/// What is known of the sender of a query besides its address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sender {
    /// Whether it has shown by a cookie that its address is its own.
    pub(super) has_good_cookie: bool,
    /// Whether it has sent a cookie, and learns a new one.
    pub(super) gets_new_cookie: bool,
    /// For whom it asks, if a forwarder that is trusted says so.
    pub(super) on_behalf_of: Option<Network>,
}

/// An option that cannot be read: FORMERR.
pub(super) struct Malformed;

impl Responder {
    /// Judges a query's options, and writes those of the answer.
    #[cold]
    pub(super) fn hear(
        &self,
        edns: &Edns,
        context: Context,
        lookup: Lookup<'_>,
        reply: &mut Options,
    ) -> Result<Sender, Malformed> {
        let cookie = self.check_cookie(edns, context);
        if let Some(cookie) = cookie.reply() {
            write_cookie(cookie, reply);
        }
        let mut sender = match cookie {
            CookieCheck::Good(_) => Sender { has_good_cookie: true, ..Sender::default() },
            CookieCheck::New(_) => Sender { gets_new_cookie: true, ..Sender::default() },
            CookieCheck::None => Sender::default(),
            CookieCheck::Malformed => return Err(Malformed),
        };
        if edns.subnet != SentSubnet::None && self.trusts(context.client) {
            let SentSubnet::In(subnet) = edns.subnet else { return Err(Malformed) };
            sender.on_behalf_of = subnet.network();
            // What others have to say depends on nobody here, and says itself on whom.
            if !matches!(lookup, Lookup::External) {
                let depends = matches!(lookup, Lookup::Service(service, _) if service.depends_on_client());
                subnet.write(if depends { subnet.prefix() } else { 0 }, reply);
            }
        }
        Ok(sender)
    }

    /// Judges a query's cookie; what the options of another version mean nobody knows.
    pub(super) fn check_cookie(&self, edns: &Edns, context: Context) -> CookieCheck {
        if edns.version != 0 {
            return CookieCheck::None;
        }
        self.guard.check_cookie(edns.cookie, context.client)
    }
}

/// Writes the COOKIE option of an answer.
pub(super) fn write_cookie(cookie: ServerCookie, options: &mut Options) {
    options.extend([COOKIE[0], COOKIE[1], 0, cookie.len() as u8]);
    options.extend(cookie);
}
