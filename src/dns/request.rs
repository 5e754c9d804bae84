//! Requests: a packet becomes a [`Request`], parsed once.
//!
//! The question is read in place. Other records are stepped over without decoding, so a packet with
//! many of them costs little. A malformed packet gets FORMERR, or no response if not even its
//! header is valid.

use super::{access::SentCookie, subnet::SentSubnet};
use crate::wire::{
    HEADER_LEN, RequestHeader, WireName, header,
    opt::{self, EdnsOption, Opt},
};

/// A question (RFC 1035 section 4.1.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Name, type and class as the client sent them, letter case included. Responses repeat them.
    pub(super) wire: &'a [u8],
    /// The name in lower case.
    pub(super) name: WireName<'a>,
    pub(super) qtype: u16,
    pub(super) class: u16,
}

/// Buffer for a question's name in lower case. The caller owns it, so a batch is read without
/// copying.
pub(super) type QuestionBuffer = [u8; 256];

/// A request's OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns<'a> {
    pub(super) opt: Opt<'a>,
    /// The COOKIE option.
    pub(super) cookie: SentCookie,
    /// The client subnet option.
    pub(super) subnet: SentSubnet,
}

impl<'a> Edns<'a> {
    /// An OPT record without options.
    pub(super) fn plain(udp_size: u16, dnssec_ok: bool) -> Self {
        Self::new(Opt::plain(udp_size, dnssec_ok))
    }

    fn new(opt: Opt<'a>) -> Self {
        let (mut cookie, mut subnet) = (SentCookie::None, SentSubnet::None);
        for EdnsOption { code, data, .. } in opt.options() {
            match code {
                // "only the first (the one closest to the DNS header) COOKIE option" counts (RFC
                // 7873 section 5)
                opt::COOKIE if cookie == SentCookie::None => cookie = SentCookie::read(data),
                opt::CLIENT_SUBNET if subnet == SentSubnet::None => subnet = SentSubnet::read(data),
                _ => {}
            }
        }
        Self { opt, cookie, subnet }
    }

    /// Whether it has an option that muster itself processes. Options of other EDNS versions are
    /// ignored.
    pub(super) fn has_own_options(&self) -> bool {
        self.opt.version == 0 && (self.cookie != SentCookie::None || self.subnet != SentSubnet::None)
    }
}

/// A question with the rest of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) header: RequestHeader,
    pub(super) question: Question<'a>,
    pub(super) edns: Option<Edns<'a>>,
}

/// A request that gets an error, reduced to what the error repeats.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rejected<'a> {
    pub(super) header: RequestHeader,
    /// Name, type and class, if they can be read.
    pub(super) question: Option<&'a [u8]>,
    /// The DO bit of the OPT record; `None`: there is no OPT record.
    pub(super) edns: Option<bool>,
}

impl<'a> Rejected<'a> {
    #[cold]
    fn read(packet: &'a [u8], header: RequestHeader) -> Self {
        let question = packet.get(HEADER_LEN..).and_then(|start| {
            let (name, _) = WireName::split(start)?;
            start.get(..name.as_bytes().len() + 4)
        });
        let has_question = packet.get(4..6) == Some(&[0, 1]);
        Self { header, question: question.filter(|_| has_question), edns: Opt::dnssec_ok_of(packet) }
    }
}

/// A parsed packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// A query.
    Query(Query<'a>),
    /// A query without a question, for a cookie only (RFC 7873 section 5.4).
    CookieOnly(RequestHeader, Edns<'a>),
    /// An operation other than QUERY.
    OtherOpcode(Rejected<'a>),
    /// A request whose header is valid, but not the rest.
    Malformed(Rejected<'a>),
    /// A response, or too short for a header. It must not be answered.
    Noise,
}

impl<'a> Request<'a> {
    /// The parts that an error repeats; for noise, none.
    pub(super) fn rejected(&self) -> Rejected<'a> {
        match self {
            Self::Query(Query { header, question, edns }) => Rejected {
                header: *header,
                question: Some(question.wire),
                edns: edns.as_ref().map(|edns| edns.opt.dnssec_ok),
            },
            Self::CookieOnly(header, edns) => {
                Rejected { header: *header, question: None, edns: Some(edns.opt.dnssec_ok) }
            }
            Self::OtherOpcode(rejected) | Self::Malformed(rejected) => *rejected,
            Self::Noise => Rejected::default(),
        }
    }
}

/// Reads a packet. The question's name goes into `buffer`.
pub(super) fn read<'a>(packet: &'a [u8], buffer: &'a mut QuestionBuffer) -> Request<'a> {
    let Some((header, counts)) = header::read(packet) else { return Request::Noise };
    if header.opcode != 0 {
        return Request::OtherOpcode(Rejected::read(packet, header));
    }
    // "a DNS message with OPCODE = 0 MUST NOT include a QDCOUNT parameter whose value is greater
    // than 1" (RFC 9619)
    let [0, 1, other_counts @ ..] = counts else { return without_question(packet, header, counts) };
    let Some((question, rest)) = question(packet, buffer) else {
        return Request::Malformed(Rejected::read(packet, header));
    };
    let opt = match other_counts {
        [0, 0, 0, 0, 0, 0] => Ok(None),
        [0, 0, 0, 0, 0, 1] => Opt::only(rest).map_or_else(|| Opt::find(packet), |opt| Ok(Some(opt))),
        _ => Opt::find(packet),
    };
    match opt {
        Ok(opt) => Request::Query(Query { header, question, edns: opt.map(Edns::new) }),
        Err(_) => Request::Malformed(Rejected::read(packet, header)),
    }
}

/// A packet that is too long to be answered: an error, whatever it is.
#[cold]
pub(super) fn reject(packet: &[u8]) -> Request<'_> {
    match header::read(packet) {
        Some((header, _)) if header.opcode != 0 => Request::OtherOpcode(Rejected::read(packet, header)),
        Some((header, _)) => Request::Malformed(Rejected::read(packet, header)),
        None => Request::Noise,
    }
}

/// Reads a query that does not have one question: it must have none, and a cookie.
#[cold]
fn without_question(packet: &[u8], header: RequestHeader, counts: [u8; 8]) -> Request<'_> {
    let only_opt = packet.get(HEADER_LEN..).filter(|_| counts == [0, 0, 0, 0, 0, 0, 0, 1]);
    match only_opt.and_then(Opt::only).map(Edns::new) {
        Some(edns) if edns.opt.version == 0 && edns.cookie != SentCookie::None => {
            Request::CookieOnly(header, edns)
        }
        _ => Request::Malformed(Rejected::read(packet, header)),
    }
}

/// Reads the question at its fixed place. Returns it and the bytes after it.
fn question<'a>(packet: &'a [u8], buffer: &'a mut QuestionBuffer) -> Option<(Question<'a>, &'a [u8])> {
    let start = packet.get(HEADER_LEN..)?;
    let (name, rest) = WireName::split(start)?;
    let length = name.as_bytes().len();
    buffer.get_mut(..length)?.copy_from_slice(name.as_bytes());
    // Label lengths are at most 63, below the upper-case letters, so lowering every byte does not
    // change them. Chunks of a fixed size, the last of which reaches beyond the name, are faster
    // than a loop over single bytes, which would take longer than everything else here.
    for chunk in buffer.as_chunks_mut::<16>().0.iter_mut().take(length.div_ceil(16)) {
        chunk.make_ascii_lowercase();
    }
    let (&[type0, type1, class0, class1], rest) = rest.split_first_chunk()?;
    let question = Question {
        wire: start.get(..length + 4)?,
        name: WireName::trusted(buffer.get(..length)?),
        qtype: u16::from_be_bytes([type0, type1]),
        class: u16::from_be_bytes([class0, class1]),
    };
    Some((question, rest))
}

#[cfg(test)]
mod tests {
    use hickory_proto::{op::Message, rr::rdata::opt::EdnsCode};
    use proptest::prelude::*;

    use super::*;

    /// `Nginx.Test. A IN`, with the counts given.
    fn packet(counts: [u8; 8], rest: &[u8]) -> Vec<u8> {
        let header = [0x12, 0x34, 0x01, 0x10];
        [&header[..], &counts, b"\x05Nginx\x04Test\x00\x00\x01\x00\x01", rest].concat()
    }

    const PLAIN: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
    const WITH_ADDITIONAL: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 1];
    const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0];

    #[test]
    fn a_query_keeps_its_case_and_is_looked_up_in_lower_case() {
        let packet = packet(PLAIN, &[]);
        let mut buffer = [0; 256];
        let Request::Query(Query { header, question, edns }) = read(&packet, &mut buffer) else { panic!() };
        assert_eq!(header.id, [0x12, 0x34]);
        assert!(header.recursion_desired && header.checking_disabled);
        assert_eq!(question.name.as_bytes(), b"\x05nginx\x04test\x00");
        assert_eq!(question.wire, b"\x05Nginx\x04Test\x00\x00\x01\x00\x01");
        assert_eq!((question.qtype, question.class), (1, 1));
        assert_eq!(edns, None);
    }

    #[test]
    fn an_opt_record_is_read() {
        let packet = packet(WITH_ADDITIONAL, &OPT);
        let mut buffer = [0; 256];
        let Request::Query(Query { edns: Some(edns), .. }) = read(&packet, &mut buffer) else { panic!() };
        assert_eq!((edns.opt.udp_size, edns.opt.version, edns.opt.dnssec_ok), (1232, 0, true));
        assert_eq!((edns.cookie, edns.subnet), (SentCookie::None, SentSubnet::None));
    }

    /// The OPT record as hickory-proto reads it: size, version, DO, cookie, subnet.
    fn by_hickory(packet: &[u8]) -> Option<(u16, u8, bool, SentCookie, SentSubnet)> {
        let edns = Message::from_vec(packet).ok()?.edns?;
        let data = |code| edns.option(code).map(|option| <Vec<u8>>::try_from(option).ok());
        Some((
            edns.max_payload().max(512),
            edns.version(),
            edns.flags().dnssec_ok,
            data(EdnsCode::Cookie).map_or(SentCookie::None, |data| {
                data.map_or(SentCookie::Malformed, |data| SentCookie::read(&data))
            }),
            data(EdnsCode::Subnet).map_or(SentSubnet::None, |data| {
                data.map_or(SentSubnet::Malformed, |data| SentSubnet::read(&data))
            }),
        ))
    }

    #[test]
    fn our_reader_and_hickory_agree_on_opt() {
        let cookie = [&OPT[..9], &[0, 12, 0, 10, 0, 8], &[7; 8]].concat();
        let both_halves = [&OPT[..9], &[0, 28, 0, 10, 0, 24], &[7; 24]].concat();
        let bad_length = [&OPT[..9], &[0, 13, 0, 10, 0, 9], &[7; 9]].concat();
        let subnet = [&OPT[..9], &[0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]].concat();
        for opt in [&OPT[..], &cookie, &both_halves, &bad_length, &subnet] {
            let with_record = [opt, &[0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 2, 1, b'x']].concat();
            for packet in [packet(WITH_ADDITIONAL, opt), packet([0, 1, 0, 0, 0, 0, 0, 2], &with_record)] {
                let mut buffer = [0; 256];
                let Request::Query(Query { edns, .. }) = read(&packet, &mut buffer) else { panic!() };
                let ours = edns.map(|edns| {
                    let Opt { udp_size, version, dnssec_ok, .. } = edns.opt;
                    (udp_size, version, dnssec_ok, edns.cookie, edns.subnet)
                });
                assert_eq!(ours, by_hickory(&packet), "{opt:02x?}");
            }
        }
    }

    #[test]
    fn errors_repeat_the_question_and_that_there_is_an_opt_record() {
        let bad_option = [&OPT[..9], &[0, 4, 0, 10, 0, 9]].concat();
        let mut notify = packet(WITH_ADDITIONAL, &OPT);
        notify[2] |= 0x20;
        for packet in [packet(WITH_ADDITIONAL, &bad_option), notify, packet(WITH_ADDITIONAL, &OPT)] {
            let mut buffer = [0; 256];
            let rejected = read(&packet, &mut buffer).rejected();
            assert_eq!((rejected.question, rejected.edns), (Some(&packet[12..28]), Some(true)));
            let rejected = reject(&packet).rejected();
            assert_eq!((rejected.question, rejected.edns), (Some(&packet[12..28]), Some(true)));
        }
        let two_questions = packet([0, 2, 0, 0, 0, 0, 0, 0], b"\0\0\x01\0\x01");
        assert_eq!(reject(&two_questions).rejected().question, None);
    }

    #[test]
    fn a_query_without_a_question_may_be_for_a_cookie() {
        let cookie = [&OPT[..9], &[0, 12, 0, 10, 0, 8], &[7; 8]].concat();
        let empty = [&packet([0, 0, 0, 0, 0, 0, 0, 1], &[])[..12], &cookie].concat();
        assert!(matches!(read(&empty, &mut [0; 256]), Request::CookieOnly(..)));
        let plain = [&empty[..12], &OPT[..]].concat();
        assert!(matches!(read(&plain, &mut [0; 256]), Request::Malformed(_)), "no cookie");
    }

    #[test]
    fn unreadable_requests_are_malformed_or_noise() {
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
