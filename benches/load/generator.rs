//! The load generator: asks about random names, checks every answer, counts what is lost.
//!
//! A *closed loop* keeps so many queries outstanding that the server never waits. An *open loop*
//! sends at a fixed rate, whatever the server does, and counts the time from when a query was due
//! (not from when it could be sent), so that a server that stalls is not measured less.

use std::{
    collections::VecDeque,
    io::IoSlice,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    batch::{BATCH, Inbox, send_all},
    histogram::Histogram,
    question::{Expect, MAX_QUESTION, Template, Wrong},
};

/// A question without an answer for so long is lost, in nanoseconds.
const LOST: u64 = 500_000_000;
/// Receive buffer to ask the kernel for.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The queries, and the server that they go to.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) template: Template,
    pub(crate) expect: Expect,
    /// Names asked about, each as often as any other.
    pub(crate) names: u32,
    /// Source ports: many stand for many clients, one for a forwarder.
    pub(crate) sockets: usize,
}

/// The result of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Right answers, all of them.
    pub(crate) answered: u64,
    /// Right answers within the time.
    pub(crate) in_time: u64,
    /// Questions without an answer.
    pub(crate) lost: u64,
    /// The time, without the wait for the last answers.
    pub(crate) time: Duration,
    /// Times from due to answered; open loop only.
    pub(crate) latency: Histogram,
}

/// Small pseudorandom numbers (Steele, Lea, Flood: `SplitMix64`, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (((mixed >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// One outstanding question, found by its id.
#[derive(Clone, Copy, Default)]
struct Slot {
    name: u32,
    source: u16,
    outstanding: bool,
    /// When it was sent (closed loop) or due (open loop), in nanoseconds since the start.
    since: u64,
}

struct Source {
    socket: UdpSocket,
    outstanding: u32,
}

/// Asks as a [`Load`] says.
pub(crate) struct Generator {
    load: Load,
    sources: Vec<Source>,
    slots: Vec<Slot>,
    /// Ids in the order in which they were asked, with their `since`; some have been answered.
    order: VecDeque<(u16, u64)>,
    outstanding: usize,
    next_id: u16,
    next_source: usize,
    random: Random,
    inbox: Inbox,
    questions: [[u8; MAX_QUESTION]; BATCH],
    wrong: Option<(Wrong, u32)>,
}

impl Generator {
    pub(crate) fn new(load: Load, seed: u64) -> anyhow::Result<Self> {
        let sources = (0..load.sockets).map(|_| Source::new(load.server)).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            load,
            sources,
            slots: vec![Slot::default(); usize::from(u16::MAX) + 1],
            order: VecDeque::new(),
            outstanding: 0,
            next_id: 0,
            next_source: 0,
            random: Random::new(seed),
            inbox: Inbox::new(),
            questions: [[0; MAX_QUESTION]; BATCH],
            wrong: None,
        })
    }

    /// Keeps `window` questions outstanding for `time`.
    ///
    /// # Errors
    /// The system's, and any wrong answer.
    pub(crate) fn closed(&mut self, window: usize, time: Duration) -> anyhow::Result<Tally> {
        let mut tally = Tally { time, ..Tally::default() };
        let start = Instant::now();
        let end = nanoseconds(time);
        loop {
            let now = nanoseconds(start.elapsed());
            if now < end {
                self.refill(window, now)?;
                tally.in_time = tally.answered;
            }
            let answered = self.receive(&mut tally, start, false)?;
            self.give_up(now, &mut tally);
            if now >= end && self.outstanding == 0 {
                return Ok(tally);
            }
            if answered == 0 {
                std::thread::yield_now();
            }
        }
    }

    /// Asks `rate` questions a second for `time`, each when it is due.
    ///
    /// # Errors
    /// The system's, and any wrong answer.
    pub(crate) fn open(&mut self, rate: u32, time: Duration) -> anyhow::Result<Tally> {
        let mut tally = Tally { time, ..Tally::default() };
        let start = Instant::now();
        let end = nanoseconds(time);
        let between = nanoseconds(Duration::from_secs(1) / rate);
        let mut due = 0;
        while due < end || self.outstanding > 0 {
            let now = nanoseconds(start.elapsed());
            while due <= now && due < end && self.outstanding < self.slots.len() / 2 {
                self.ask_from_next(due)?;
                due += between;
            }
            self.receive(&mut tally, start, true)?;
            self.give_up(now, &mut tally);
        }
        tally.in_time = tally.answered;
        Ok(tally)
    }

    fn refill(&mut self, window: usize, now: u64) -> anyhow::Result<()> {
        let free = window.saturating_sub(self.outstanding);
        if self.sources.len() > 1 {
            // One query from each socket in turn: neighbors in the server's batch are from
            // different clients.
            for _ in 0..free {
                self.ask_from_next(now)?;
            }
            return Ok(());
        }
        for first in (0..free).step_by(BATCH) {
            let count = BATCH.min(free - first);
            let mut lengths = [0; BATCH];
            for (index, length) in lengths.iter_mut().enumerate().take(count) {
                *length = self.write_question(index, 0, now);
            }
            let packets: [IoSlice<'_>; BATCH] =
                std::array::from_fn(|index| IoSlice::new(&self.questions[index][..lengths[index]]));
            send_all(&self.sources[0].socket, &packets[..count], None)?;
        }
        Ok(())
    }

    fn ask_from_next(&mut self, since: u64) -> anyhow::Result<()> {
        self.next_source = (self.next_source + 1) % self.sources.len();
        let length = self.write_question(0, self.next_source, since);
        // A refusal reports that an earlier query was refused: it counts as lost, and so does this
        // one.
        match self.sources[self.next_source].socket.send(&self.questions[0][..length]) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes a new question into the room at `index` and notes it; returns its length.
    fn write_question(&mut self, index: usize, source: usize, since: u64) -> usize {
        // Fewer are outstanding than there are ids, so a free one is found.
        while self.slots[usize::from(self.next_id)].outstanding {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let name = self.random.below(self.load.names);
        self.slots[usize::from(id)] = Slot { name, source: source as u16, outstanding: true, since };
        self.order.push_back((id, since));
        self.outstanding += 1;
        self.sources[source].outstanding += 1;
        self.load.template.write(id, name, &mut self.questions[index])
    }

    /// Receives everything that has arrived on sockets with outstanding queries; returns the number
    /// of datagrams.
    fn receive(&mut self, tally: &mut Tally, start: Instant, timed: bool) -> anyhow::Result<usize> {
        let mut total = 0;
        for source in 0..self.sources.len() {
            if self.sources[source].outstanding == 0 {
                continue;
            }
            let count = self.inbox.poll(&self.sources[source].socket)?;
            total += count;
            let now = if timed && count > 0 { nanoseconds(start.elapsed()) } else { 0 };
            for index in 0..count {
                let (answer, _) = self.inbox.datagram(index);
                let Some(slot) = answer.get(..2).map(|id| usize::from(u16::from_be_bytes([id[0], id[1]])))
                else {
                    continue;
                };
                let slot = &mut self.slots[slot];
                if !slot.outstanding || usize::from(slot.source) != source {
                    continue; // the answer to a question that was given up
                }
                if let Err(wrong) = self.load.template.check(slot.name, &self.load.expect, answer) {
                    self.wrong.get_or_insert((wrong, slot.name));
                }
                slot.outstanding = false;
                self.outstanding -= 1;
                self.sources[source].outstanding -= 1;
                tally.answered += 1;
                if timed {
                    tally.latency.record(now.saturating_sub(slot.since));
                }
            }
        }
        match self.wrong {
            Some((wrong, name)) => {
                bail!("wrong answer from {} about name {name}: {wrong:?}", self.load.server)
            }
            None => Ok(total),
        }
    }

    fn give_up(&mut self, now: u64, tally: &mut Tally) {
        while let Some(&(id, since)) = self.order.front() {
            let slot = &mut self.slots[usize::from(id)];
            if slot.outstanding && slot.since == since {
                if now.saturating_sub(since) < LOST {
                    return;
                }
                slot.outstanding = false;
                self.outstanding -= 1;
                self.sources[usize::from(slot.source)].outstanding -= 1;
                tally.lost += 1;
            }
            self.order.pop_front();
        }
    }
}

impl Source {
    fn new(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        // A smaller buffer than asked for shows as losses, which are counted.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into())?;
        socket.connect(&server.into())?;
        Ok(Self { socket: socket.into(), outstanding: 0 })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
