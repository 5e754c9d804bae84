//! A client that waits for an upstream's answer.

use super::{
    client_query::ClientQuery,
    shares::Requester,
    stored_answer::{Age, AnswerSummary, StoredAnswer},
};
use crate::wire::WireName;

/// Sends an answer to its client. Called once, from any thread; must not wait.
pub type AnswerCallback = Box<dyn FnOnce(&[u8], AnswerSummary) + Send>;

/// A client that waits: the parts of its [`ClientQuery`] that decide how the answer is written, and
/// how to send it.
pub(super) struct WaitingClient {
    requester: Requester,
    id: [u8; 2],
    question: Box<[u8]>,
    qtype: u16,
    authentic_data: bool,
    checking_disabled: bool,
    edns: Option<bool>,
    own_options: Box<[u8]>,
    limit: usize,
    reply: AnswerCallback,
}

impl std::fmt::Debug for WaitingClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WaitingClient").field(&self.query()).finish()
    }
}

impl WaitingClient {
    pub(super) fn new(query: &ClientQuery<'_>, requester: Requester, reply: AnswerCallback) -> Self {
        debug_assert_eq!(
            query.name.as_bytes().len() + 4,
            query.question.len(),
            "a question is a name, a type and a class"
        );
        Self {
            requester,
            id: query.id,
            question: query.question.into(),
            qtype: query.qtype,
            authentic_data: query.authentic_data,
            checking_disabled: query.checking_disabled,
            edns: query.edns,
            own_options: query.own_options.into(),
            limit: query.limit,
            reply,
        }
    }

    /// Who is charged for the query.
    pub(super) fn requester(&self) -> Requester {
        self.requester
    }

    /// The client's query, for writing its answer. The name is in the client's letter case, so the
    /// query does not give the answer's key.
    pub(super) fn query(&self) -> ClientQuery<'_> {
        ClientQuery {
            id: self.id,
            question: &self.question,
            name: WireName::trusted(self.name()),
            qtype: self.qtype,
            recursion_desired: true,
            authentic_data: self.authentic_data,
            checking_disabled: self.checking_disabled,
            edns: self.edns,
            own_options: &self.own_options,
            limit: self.limit,
        }
    }

    /// The name in the client's letter case.
    fn name(&self) -> &[u8] {
        self.question.split_last_chunk::<4>().map_or(&[0], |(name, _)| name)
    }

    /// Sends a finished message.
    pub(super) fn send(self, message: &[u8], summary: AnswerSummary) {
        (self.reply)(message, summary);
    }

    /// Sends an upstream's answer that has just arrived.
    pub(super) fn answer(self, answer: &StoredAnswer) {
        let mut message = Vec::with_capacity(512);
        let summary = answer.write(&self.query(), Age::New, &mut message);
        self.send(&message, summary);
    }

    /// Sends SERVFAIL: no upstream answered.
    pub(super) fn fail(self) {
        let failure = StoredAnswer::failure(&self.question);
        self.answer(&failure);
    }
}
