//! Reading requests.
//!
//! Our own reader takes what clients really send: one question, at most one OPT record behind it. Whatever has more in it is
//! read by hickory-proto. What cannot be read gets FORMERR, or silence where not even the header makes sense.

use hickory_proto::{op::Message, rr::rdata::opt::EdnsCode};

use super::{
    access::SentCookie,
    subnet::{CLIENT_SUBNET, SentSubnet},
};

use crate::forward::may_pass;

/// Length of the header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;

/// Longest name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// Largest UDP answer to a client without EDNS (RFC 1035 section 2.3.4).
pub(super) const PLAIN_UDP_LIMIT: u16 = 512;

/// The COOKIE option's code (RFC 7873 section 4).
pub(super) const COOKIE: [u8; 2] = [0, 10];

/// A request's header, of which answers repeat parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: [u8; 2],
    /// 0 is QUERY.
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    pub(super) authentic_data: bool,
    pub(super) checking_disabled: bool,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Name, type and class as they were asked, letter case included: answers repeat them.
    pub(super) wire: &'a [u8],
    /// The name in wire format, letters lower case.
    pub(super) name: &'a [u8],
    pub(super) qtype: u16,
    pub(super) class: u16,
}

/// Room for a question's name in lower case; the caller's, so that a batch of them needs no copying.
pub(super) type NameRoom = [u8; 256];

/// What a request's OPT record says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) udp_limit: u16,
    pub(super) version: u8,
    pub(super) dnssec_ok: bool,
    /// Whether there is an option that an upstream could want to know.
    pub(super) has_passing: bool,
    /// The COOKIE option.
    pub(super) cookie: SentCookie,
    /// The client subnet.
    pub(super) subnet: SentSubnet,
}

impl Edns {
    /// Whether there is an option that is for us: of this version, what those of others mean nobody knows.
    pub(super) fn has_own_options(&self) -> bool {
        self.version == 0 && (self.cookie != SentCookie::None || self.subnet != SentSubnet::None)
    }
}

/// A question to be answered, with what came beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) header: Header,
    pub(super) question: Question<'a>,
    pub(super) edns: Option<Edns>,
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// A question to be answered.
    Query(Query<'a>),
    /// Another operation than QUERY.
    OtherOpcode(Header),
    /// Something with a request's header that cannot be read.
    Malformed(Header),
    /// A response, or not even a header: nothing that may be answered.
    Noise,
}

/// Reads a packet; `room` takes the question's name.
pub(super) fn read<'a>(packet: &'a [u8], room: &'a mut NameRoom) -> Request<'a> {
    let Some(([id0, id1, flags, more_flags], rest)) = packet.split_first_chunk() else {
        return Request::Noise;
    };
    let Some((counts, _)) = rest.split_first_chunk::<8>() else { return Request::Noise };
    if flags & 0x80 != 0 {
        return Request::Noise; // QR: answering responses makes loops
    }
    let header = Header {
        id: [*id0, *id1],
        opcode: flags >> 3 & 0x0f,
        recursion_desired: flags & 0x01 != 0,
        authentic_data: more_flags & 0x20 != 0,
        checking_disabled: more_flags & 0x10 != 0,
    };
    if header.opcode != 0 {
        return Request::OtherOpcode(header);
    }
    // "a DNS message with OPCODE = 0 MUST NOT include a QDCOUNT parameter whose value is greater than 1" (RFC 9619)
    let [0, 1, other_counts @ ..] = counts else { return Request::Malformed(header) };
    let Some((question, behind)) = question(packet, room) else { return Request::Malformed(header) };
    let edns = match other_counts {
        [0, 0, 0, 0, 0, 0] => Ok(None),
        [0, 0, 0, 0, 0, 1] => plain_opt(behind).map_or_else(|| uncommon(packet), |edns| Ok(Some(edns))),
        _ => uncommon(packet),
    };
    match edns {
        Ok(edns) => Request::Query(Query { header, question, edns }),
        Err(()) => Request::Malformed(header),
    }
}

/// Reads the question at its place; returns it and what stands behind it.
fn question<'a>(packet: &'a [u8], room: &'a mut NameRoom) -> Option<(Question<'a>, &'a [u8])> {
    let start = packet.get(HEADER..)?;
    let mut at = 0;
    loop {
        // Lengths above 63 are compression pointers or unknown label types: neither belongs into a first name.
        let length = usize::from(*start.get(at)?);
        at += length + 1;
        if length > 63 || at > MAX_NAME {
            return None;
        }
        if length == 0 {
            break;
        }
    }
    let (name, rest) = start.split_at_checked(at)?;
    room.get_mut(..at)?.copy_from_slice(name);
    // A length is at most 63 and so no upper-case letter: lowering the whole cannot change one. By pieces of one size, the
    // last one beyond the name's end: a loop over single bytes would take longer than all else here.
    for piece in room.as_chunks_mut::<16>().0.iter_mut().take(at.div_ceil(16)) {
        piece.make_ascii_lowercase();
    }
    let (&[type0, type1, class0, class1], behind) = rest.split_first_chunk()?;
    let question = Question {
        wire: start.get(..at + 4)?,
        name: room.get(..at)?,
        qtype: u16::from_be_bytes([type0, type1]),
        class: u16::from_be_bytes([class0, class1]),
    };
    Some((question, behind))
}

/// Reads `behind` as exactly one well-formed OPT record with the root as its owner; `None` if it is anything else.
fn plain_opt(behind: &[u8]) -> Option<Edns> {
    let (fixed, mut options) = behind.split_first_chunk::<11>()?;
    let [0, 0, 41, size0, size1, _extended_rcode, version, flags, _more_flags, length0, length1] = *fixed
    else {
        return None;
    };
    if options.len() != usize::from(u16::from_be_bytes([length0, length1])) {
        return None;
    }
    let mut cookie = SentCookie::None;
    let mut subnet = SentSubnet::None;
    let mut has_passing = false;
    while let Some((&[code0, code1, length0, length1], rest)) = options.split_first_chunk() {
        let (data, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([length0, length1])))?;
        has_passing |= may_pass(u16::from_be_bytes([code0, code1]));
        // "only the first (the one closest to the DNS header) COOKIE option" counts (RFC 7873 section 5)
        if [code0, code1] == COOKIE && cookie == SentCookie::None {
            cookie = SentCookie::read(data);
        }
        if [code0, code1] == CLIENT_SUBNET && subnet == SentSubnet::None {
            subnet = SentSubnet::read(data);
        }
        options = behind;
    }
    options.is_empty().then_some(Edns {
        udp_limit: u16::from_be_bytes([size0, size1]).max(PLAIN_UDP_LIMIT),
        version,
        dnssec_ok: flags & 0x80 != 0,
        cookie,
        subnet,
        has_passing,
    })
}

/// Has hickory-proto read a packet with records in it.
fn uncommon(packet: &[u8]) -> Result<Option<Edns>, ()> {
    let message = Message::from_vec(packet).map_err(|_| ())?;
    Ok(message.edns.as_ref().map(|edns| Edns {
        udp_limit: edns.max_payload().max(PLAIN_UDP_LIMIT),
        version: edns.version(),
        dnssec_ok: edns.flags().dnssec_ok,
        cookie: edns.option(EdnsCode::Cookie).map_or(SentCookie::None, |option| {
            <Vec<u8>>::try_from(option).map_or(SentCookie::Malformed, |data| SentCookie::read(&data))
        }),
        subnet: edns.option(EdnsCode::Subnet).map_or(SentSubnet::None, |option| {
            <Vec<u8>>::try_from(option).map_or(SentSubnet::Malformed, |data| SentSubnet::read(&data))
        }),
        has_passing: edns.options().as_ref().iter().any(|(code, _)| may_pass((*code).into())),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `Nginx.Test. A IN`, with the counts given.
    fn packet(counts: [u8; 8], behind: &[u8]) -> Vec<u8> {
        let header = [0x12, 0x34, 0x01, 0x10];
        [&header[..], &counts, b"\x05Nginx\x04Test\x00\x00\x01\x00\x01", behind].concat()
    }

    const PLAIN: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
    const WITH_ADDITIONAL: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 1];
    const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0];

    #[test]
    fn a_plain_query_keeps_its_case_for_the_answer_and_loses_it_for_the_look_up() {
        let packet = packet(PLAIN, &[]);
        let mut room = [0; 256];
        let Request::Query(Query { header, question, edns }) = read(&packet, &mut room) else { panic!() };
        assert_eq!(header.id, [0x12, 0x34]);
        assert!(header.recursion_desired && header.checking_disabled);
        assert_eq!(question.name, b"\x05nginx\x04test\x00");
        assert_eq!(question.wire, b"\x05Nginx\x04Test\x00\x00\x01\x00\x01");
        assert_eq!((question.qtype, question.class), (1, 1));
        assert_eq!(edns, None);
    }

    #[test]
    fn an_opt_record_is_read() {
        let packet = packet(WITH_ADDITIONAL, &OPT);
        let mut room = [0; 256];
        let Request::Query(Query { edns, .. }) = read(&packet, &mut room) else { panic!() };
        let expected = Edns {
            udp_limit: 1232,
            version: 0,
            dnssec_ok: true,
            cookie: SentCookie::None,
            subnet: SentSubnet::None,
            has_passing: false,
        };
        assert_eq!(edns, Some(expected));
    }

    #[test]
    fn our_own_reader_and_hickory_agree_on_opt() {
        let cookie = [&OPT[..9], &[0, 12, 0, 10, 0, 8], &[7; 8]].concat();
        let both_halves = [&OPT[..9], &[0, 28, 0, 10, 0, 24], &[7; 24]].concat();
        let bad_length = [&OPT[..9], &[0, 13, 0, 10, 0, 9], &[7; 9]].concat();
        let subnet = [&OPT[..9], &[0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]].concat();
        for opt in [&OPT[..], &cookie, &both_halves, &bad_length, &subnet] {
            let packet = packet(WITH_ADDITIONAL, opt);
            assert_eq!(plain_opt(opt).map(Some), uncommon(&packet).ok());
        }
    }

    #[test]
    fn unreadable_requests_are_malformed_and_the_rest_is_noise() {
        let malformed = [
            packet([0, 0, 0, 0, 0, 0, 0, 0], &[]),
            packet([0, 2, 0, 0, 0, 0, 0, 0], &[]),
            packet(WITH_ADDITIONAL, &[]),
            packet(WITH_ADDITIONAL, &OPT[..10]),
            packet(WITH_ADDITIONAL, &[&OPT[..9], &[0, 4, 0, 10, 0, 9]].concat()),
            packet([0, 1, 0, 0, 0, 0, 0, 2], &[OPT, OPT].concat()),
            packet(PLAIN, &[])[..20].to_vec(),
            [&packet(PLAIN, &[])[..12], &[0xc0, 0x0c, 0, 1, 0, 1]].concat(),
            [
                &packet(PLAIN, &[])[..12],
                &[b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4),
                &[0, 0, 1, 0, 1],
            ]
            .concat(),
        ];
        for packet in malformed {
            assert!(matches!(read(&packet, &mut [0; 256]), Request::Malformed(_)), "{packet:02x?}");
        }
        let mut response = packet(PLAIN, &[]);
        response[2] |= 0x80;
        for noise in [&response[..], &response[..11], &[]] {
            assert!(matches!(read(noise, &mut [0; 256]), Request::Noise), "{noise:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes, &mut [0; 256]);
        }

        #[test]
        fn no_tail_panics(tail in prop::collection::vec(any::<u8>(), 0..80), counts in any::<[u8; 6]>()) {
            let [a, b, c, d, e, f] = counts;
            let _ = read(&packet([0, 1, a, b & 3, c & 1, d & 3, e & 1, f & 3], &tail), &mut [0; 256]);
        }
    }
}
