//! One TCP connection: its queries, and the answers to them.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::WriteHalf},
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout, timeout_at},
};

use super::{
    open_connections::OpenConnection,
    reply_budget::{ConnectionBudget, HeldBytes},
};
use crate::{
    dns::{
        exchange::Context,
        responder::{Packet, Responder, Response},
        rotation::Rotation,
    },
    telemetry::Transport,
};

/// Bytes of answers to gather before writing them, if many queries wait. Bounds a connection's
/// memory.
const MAX_GATHERED: usize = 16 << 10;

/// Bytes that the buffer of gathered answers keeps between writes.
const KEPT_GATHERED: usize = 4 << 10;

/// Bytes of queries to read at once.
const READ_BUFFER: usize = 4 << 10;

/// Maximum number of deferred queries of one connection. Beyond it, muster stops reading.
const MAX_DEFERRED: usize = 256;

/// How long to wait for a deferred reply before the connection is closed.
const DEFERRED_TIMEOUT: Duration = Duration::from_secs(60);

/// The state that all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) responder: Arc<Responder>,
    pub(super) rotation: Mutex<Rotation>,
    pub(super) idle: Duration,
}

/// Answers the queries of one connection, until its client closes it, is idle, or sends an invalid
/// message.
///
/// A deferred query is answered when its reply arrives, and later queries are answered meanwhile
/// (RFC 7766 section 7).
pub(super) async fn serve_connection(
    mut stream: TcpStream,
    shared: &Shared,
    open: &mut OpenConnection,
    budget: Arc<ConnectionBudget>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let context = Context {
        transport: Transport::Tcp,
        local_addr: Some(stream.local_addr()?.ip()),
        client: stream.peer_addr()?.ip(),
    };
    let idle = shared.idle;
    let (deferred, mut deferred_replies) = mpsc::channel(MAX_DEFERRED);
    let mut session = Session { shared, context, deferred, budget, pending: 0, answer: Vec::new() };
    let (mut reader, mut writer) = stream.split();
    let mut received: Vec<u8> = Vec::with_capacity(READ_BUFFER);
    let mut answers = Vec::new();
    let mut is_open = true;
    // Only whole messages reset the timeout, so single bytes cannot hold a slot.
    let mut deadline = Instant::now() + idle;
    while is_open || session.pending > 0 {
        let until = if session.pending > 0 { Instant::now() + DEFERRED_TIMEOUT } else { deadline };
        tokio::select! {
            read = timeout_at(until, reader.read_buf(&mut received)), if is_open && session.has_room() => {
                is_open = read?? > 0;
            }
            Some(reply) = deferred_replies.recv(), if session.pending > 0 => {
                session.pending -= 1;
                frame(reply.message()?, &mut answers)?;
                open.is_active();
                deadline = Instant::now() + idle;
            }
        }
        while let Some(progress) = session.answer_received(&received, &mut answers)? {
            received.drain(..progress.bytes);
            // The message was no query. Stop reading, but still send the answers to earlier ones.
            is_open &= !progress.is_invalid;
            open.is_active();
            deadline = Instant::now() + idle;
            flush(&mut writer, &mut answers, idle).await?;
        }
        flush(&mut writer, &mut answers, idle).await?;
        session.answer.shrink_to(KEPT_GATHERED);
    }
    Ok(())
}

/// One connection's queries and answers.
struct Session<'s> {
    shared: &'s Shared,
    context: Context,
    /// Where deferred replies arrive.
    deferred: mpsc::Sender<Reply>,
    /// The bytes that deferred replies hold until they are sent.
    budget: Arc<ConnectionBudget>,
    /// Number of deferred replies that have not arrived.
    pending: usize,
    answer: Vec<u8>,
}

/// The result of one call of [`Session::answer_received`].
struct Progress {
    bytes: usize,
    /// Whether nothing can be read after the last message, because it was no query or too long.
    is_invalid: bool,
}

impl Session<'_> {
    fn has_room(&self) -> bool {
        self.pending < MAX_DEFERRED
    }

    /// Answers whole messages until there are no more, enough answers are gathered, or too many are
    /// deferred. `None` if it consumed nothing.
    fn answer_received(&mut self, received: &[u8], answers: &mut Vec<u8>) -> io::Result<Option<Progress>> {
        let Shared { responder, rotation, .. } = self.shared;
        let mut rest = received;
        let mut is_invalid = false;
        while !is_invalid
            && answers.len() < MAX_GATHERED
            && self.has_room()
            && let Some((packet, after)) = split_message(rest, responder.longest_query())
        {
            rest = after;
            is_invalid = packet.is_cut();
            match responder.respond_with_lock(packet, self.context, rotation, &mut self.answer) {
                Response::Ready => frame(&self.answer, answers)?,
                Response::Dropped => is_invalid = true,
                Response::Deferred(pending) => {
                    self.pending += 1;
                    let budget = Arc::clone(&self.budget);
                    let mut reply = DeferredReply { session: Some(self.deferred.clone()), budget };
                    pending.send(Box::new(move |answer| reply.send(answer)));
                }
            }
            if is_invalid {
                rest = &[];
            }
        }
        let bytes = received.len() - rest.len();
        Ok((bytes > 0).then_some(Progress { bytes, is_invalid }))
    }
}

/// The reply to a deferred query.
enum Reply {
    /// A message, which holds its bytes of the budget until it is sent.
    Message { bytes: Vec<u8>, _held: HeldBytes },
    /// None: the client gets no reply.
    Nothing,
    /// The budget had no room for it.
    NoRoom,
}

impl Reply {
    /// The message to send, which may be empty.
    ///
    /// # Errors
    /// There was no room for it. Its client then repeats the query on another connection: "clients
    /// SHOULD retry unanswered queries if the connection closes" (RFC 7766 section 6.2.4).
    fn message(&self) -> io::Result<&[u8]> {
        match self {
            Self::Message { bytes, .. } => Ok(bytes),
            Self::Nothing => Ok(&[]),
            Self::NoRoom => Err(io::Error::other("more replies than its client has read")),
        }
    }
}

/// Sends one deferred reply to its session. Sends [`Reply::Nothing`] on drop, so that the session
/// does not wait for a reply that never comes.
struct DeferredReply {
    session: Option<mpsc::Sender<Reply>>,
    budget: Arc<ConnectionBudget>,
}

impl DeferredReply {
    fn send(&mut self, answer: &[u8]) {
        let reply = match self.budget.take(answer.len()) {
            Some(held) => Reply::Message { bytes: answer.to_vec(), _held: held },
            None => Reply::NoRoom,
        };
        self.pass_on(reply);
    }

    fn pass_on(&mut self, reply: Reply) {
        if let Some(session) = self.session.take() {
            // The channel has room for all pending replies. Sending fails only if the connection is
            // closed.
            let sent = session.try_send(reply);
            debug_assert!(!matches!(sent, Err(TrySendError::Full(_))), "MAX_DEFERRED replies fit");
        }
    }
}

impl Drop for DeferredReply {
    fn drop(&mut self) {
        self.pass_on(Reply::Nothing);
    }
}

/// Appends an answer with its length in front (RFC 1035 section 4.2.2).
fn frame(answer: &[u8], answers: &mut Vec<u8>) -> io::Result<()> {
    if !answer.is_empty() {
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        answers.extend(length.to_be_bytes());
        answers.extend_from_slice(answer);
    }
    Ok(())
}

/// Splits off the first message, which has its length in front (RFC 1035 section 4.2.2). `None` if
/// it is incomplete. Of a message longer than `longest`, only that many bytes are awaited.
fn split_message(bytes: &[u8], longest: usize) -> Option<(Packet<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (bytes, rest) = rest.split_at_checked(length.min(longest))?;
    Some((Packet { bytes, length }, rest))
}

/// Writes the gathered answers. A client that does not read them in time is disconnected, like an
/// idle one.
async fn flush(stream: &mut WriteHalf<'_>, answers: &mut Vec<u8>, idle: Duration) -> io::Result<()> {
    if !answers.is_empty() {
        timeout(idle, stream.write_all(answers)).await??;
        answers.clear();
        answers.shrink_to(KEPT_GATHERED);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::tcp::reply_budget::ReplyBudget;

    #[test]
    fn replies_that_a_client_does_not_read_hold_few_bytes() {
        const LARGEST: usize = 65_535;
        let budget = Arc::<ReplyBudget>::default().connection(1);
        let (session, mut replies) = mpsc::channel(MAX_DEFERRED);
        for _ in 0..MAX_DEFERRED {
            let mut reply = DeferredReply { session: Some(session.clone()), budget: Arc::clone(&budget) };
            reply.send(&[0; LARGEST]);
        }
        let replies: Vec<_> = std::iter::from_fn(|| replies.try_recv().ok()).collect();
        let sent = replies.iter().take_while(|reply| reply.message().is_ok()).count();
        assert_eq!(replies.len(), MAX_DEFERRED);
        assert!((1..100).contains(&sent), "{sent} of {LARGEST} bytes each");
        assert!(replies.iter().skip(sent).all(|reply| reply.message().is_err()), "the connection closes");
    }

    #[test]
    fn a_message_beyond_the_longest_query_is_not_awaited() {
        let mut bytes = vec![0xff, 0xff];
        bytes.extend([7; 99]);
        assert!(split_message(&bytes, 100).is_none());
        bytes.extend([7; 2]);
        let (packet, rest) = split_message(&bytes, 100).unwrap();
        assert_eq!((packet.bytes.len(), packet.length, packet.is_cut(), rest.len()), (100, 65_535, true, 1));
        let (packet, rest) = split_message(&[0, 1, 7, 8], 100).unwrap();
        assert_eq!((packet.bytes, packet.is_cut(), rest), (&[7][..], false, &[8][..]));
    }
}
