//! The header (RFC 1035 section 4.1.1): reading a request's, writing a response's.

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 12;

/// QR, in the third byte: the message is a response.
pub const RESPONSE: u8 = 0x80;
/// AA, in the third byte.
pub const AUTHORITATIVE: u8 = 0x04;
/// TC, in the third byte.
pub const TRUNCATED: u8 = 0x02;
/// RD, in the third byte.
pub const RECURSION_DESIRED: u8 = 0x01;
/// RA, in the fourth byte.
pub const RECURSION_AVAILABLE: u8 = 0x80;
/// AD, in the fourth byte (RFC 4035 section 3.2.3).
pub const AUTHENTIC_DATA: u8 = 0x20;
/// CD, in the fourth byte (RFC 4035 section 3.2.2).
pub const CHECKING_DISABLED: u8 = 0x10;

/// Response codes, including the upper bits that OPT adds.
pub mod rcode {
    /// NOERROR.
    pub const NO_ERROR: u16 = 0;
    /// FORMERR.
    pub const FORM_ERR: u16 = 1;
    /// SERVFAIL.
    pub const SERV_FAIL: u16 = 2;
    /// NXDOMAIN.
    pub const NX_DOMAIN: u16 = 3;
    /// NOTIMP.
    pub const NOT_IMP: u16 = 4;
    /// YXDOMAIN: a DNAME made the name too long (RFC 6672 section 2.2).
    pub const YX_DOMAIN: u16 = 6;
}

/// The parts of a request's header that its response repeats or depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The request's id.
    pub id: [u8; 2],
    /// The operation; 0 is QUERY.
    pub opcode: u8,
    /// RD.
    pub recursion_desired: bool,
    /// AD: the client understands the bit in responses (RFC 6840 section 5.7).
    pub authentic_data: bool,
    /// CD.
    pub checking_disabled: bool,
}

/// Reads a request's header and its four counts. `None` if the packet is too short, or is a
/// response: answering responses makes loops.
#[inline]
pub fn read(packet: &[u8]) -> Option<(RequestHeader, [u8; 8])> {
    let ([id0, id1, flags, more_flags], rest) = packet.split_first_chunk()?;
    let (counts, _) = rest.split_first_chunk::<8>()?;
    if flags & RESPONSE != 0 {
        return None;
    }
    let header = RequestHeader {
        id: [*id0, *id1],
        opcode: flags >> 3 & 0x0f,
        recursion_desired: flags & RECURSION_DESIRED != 0,
        authentic_data: more_flags & AUTHENTIC_DATA != 0,
        checking_disabled: more_flags & CHECKING_DISABLED != 0,
    };
    Some((header, *counts))
}

/// `mask` if `set`, otherwise 0.
#[inline]
pub const fn bit(set: bool, mask: u8) -> u8 {
    if set { mask } else { 0 }
}

/// Makes a header from an id, two bytes of flags, and the counts of the four sections.
#[inline]
pub fn bytes(id: [u8; 2], flags: [u8; 2], counts: [u16; 4]) -> [u8; HEADER_LEN] {
    let [qd, an, ns, ar] = counts.map(u16::to_be_bytes);
    [id[0], id[1], flags[0], flags[1], qd[0], qd[1], an[0], an[1], ns[0], ns[1], ar[0], ar[1]]
}

/// Writes a header over the first bytes of `message`, which must be long enough.
#[inline]
pub fn overwrite(message: &mut [u8], header: [u8; HEADER_LEN]) {
    debug_assert!(message.len() >= HEADER_LEN, "a message begins with room for its header");
    if let Some(place) = message.first_chunk_mut() {
        *place = header;
    }
}
