//! Queries for the synthetic names, and the right answers.

use std::ops::RangeInclusive;

/// The namespace of the synthetic services.
pub(crate) const APEX: &str = "bench";
/// Instances of each service.
pub(crate) const INSTANCES: u16 = 10;
/// The port of each instance.
pub(crate) const PORT: u16 = 8080;
/// Most services, since names have six digits.
pub(crate) const MAX_SERVICES: u32 = 1_000_000;
/// Longest query that a [`Template`] makes, in bytes.
pub(crate) const MAX_QUESTION: usize = 64;

/// Length of a DNS header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Where the digits of `s000123` are: after the header, the label's length and its letter.
const DIGITS: usize = HEADER + 2;

/// The name of service `number`, without the namespace.
pub(crate) fn service_label(number: u32) -> String {
    format!("s{number:06}")
}

/// The kind of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The addresses of a service, without EDNS, as stub resolvers query.
    A,
    /// Its SRV records, with an EDNS size of 1232, since they do not fit 512 bytes.
    Srv,
    /// The addresses of a name that does not exist.
    NxDomain,
}

/// A right answer.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// Exactly so many bytes with the query's id: the echo's.
    Size(usize),
    /// The same question, this response code, counts in these ranges.
    Answer { rcode: u8, answers: RangeInclusive<u16>, additional: RangeInclusive<u16> },
}

/// The fault of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A wrong length, or no answer at all.
    Form,
    /// Another question.
    Question,
    /// Another response code, or TC.
    Code,
    /// Too few or too many records.
    Count,
}

/// A query with places for id and name.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    packet: Vec<u8>,
    question_end: usize,
    kind: Kind,
}

impl Template {
    pub(crate) fn new(kind: Kind) -> Self {
        let (letter, qtype, edns) = match kind {
            Kind::A => (b's', 1, false),
            Kind::Srv => (b's', 33, true),
            Kind::NxDomain => (b'x', 1, false),
        };
        // Id, flags (RD, as every stub resolver sets it), one question, perhaps one additional
        // record.
        let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        packet.extend([7, letter]);
        packet.extend(b"000000");
        packet.push(5);
        packet.extend(APEX.as_bytes());
        packet.extend([0, 0, qtype, 0, 1]);
        let question_end = packet.len();
        if edns {
            packet.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        }
        Self { packet, question_end, kind }
    }

    /// The right answer while every instance is healthy.
    pub(crate) fn expect(&self) -> Expect {
        match self.kind {
            Kind::A => Expect::Answer { rcode: 0, answers: INSTANCES..=INSTANCES, additional: 0..=0 },
            // Ten addresses, and an OPT record.
            Kind::Srv => Expect::Answer {
                rcode: 0,
                answers: INSTANCES..=INSTANCES,
                additional: INSTANCES..=INSTANCES + 2,
            },
            Kind::NxDomain => Expect::Answer { rcode: 3, answers: 0..=0, additional: 0..=0 },
        }
    }

    /// Writes the query for name `number` to the beginning of `out` and returns its length.
    pub(crate) fn write(&self, id: u16, number: u32, out: &mut [u8; MAX_QUESTION]) -> usize {
        let length = self.packet.len();
        out[..length].copy_from_slice(&self.packet);
        out[..2].copy_from_slice(&id.to_be_bytes());
        out[DIGITS..DIGITS + 6].copy_from_slice(&digits(number));
        length
    }

    /// Checks whether `answer` is right for name `number`. The caller checks the id.
    pub(crate) fn check(&self, number: u32, expect: &Expect, answer: &[u8]) -> Result<(), Wrong> {
        let (rcode, answers, additional) = match expect {
            Expect::Size(size) => return if answer.len() == *size { Ok(()) } else { Err(Wrong::Form) },
            Expect::Answer { rcode, answers, additional } => (*rcode, answers, additional),
        };
        if answer.len() < self.question_end || answer[2] & 0x80 == 0 || answer[4..6] != [0, 1] {
            return Err(Wrong::Form);
        }
        let name_is_ours = answer[DIGITS..DIGITS + 6] == digits(number);
        let rest_is_ours = answer[HEADER..DIGITS] == self.packet[HEADER..DIGITS]
            && answer[DIGITS + 6..self.question_end] == self.packet[DIGITS + 6..self.question_end];
        if !name_is_ours || !rest_is_ours {
            return Err(Wrong::Question);
        }
        if answer[2] & 0x02 != 0 || answer[3] & 0x0f != rcode {
            return Err(Wrong::Code);
        }
        let count = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
        if answers.contains(&count(6)) && additional.contains(&count(10)) {
            Ok(())
        } else {
            Err(Wrong::Count)
        }
    }
}

/// Six decimal digits.
fn digits(number: u32) -> [u8; 6] {
    let mut rest = number;
    let mut out = [b'0'; 6];
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out
}
