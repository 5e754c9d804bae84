//! EDNS (RFC 6891): reading and writing OPT records and their options.

use super::{
    bytes::{PLAIN_UDP_LIMIT, UDP_LIMIT, count_of, u16_at},
    header::bit,
    record::{self, Records},
};

/// Length of an OPT record without its options, in bytes.
pub const OPT_LEN: usize = 11;

/// Client subnet (RFC 7871).
pub const CLIENT_SUBNET: u16 = 8;
/// COOKIE (RFC 7873).
pub const COOKIE: u16 = 10;
/// Extended error (RFC 8914).
pub const EXTENDED_ERROR: u16 = 15;

/// Whether an option of an upstream's answer is for the client too: only an extended error. "OPT RRs
/// MUST NOT be cached, forwarded, or stored" (RFC 6891 section 6.1.1).
#[inline]
pub fn passes_to_client(code: u16) -> bool {
    code == EXTENDED_ERROR
}

/// A parsed OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// The maximum UDP message that the sender accepts, in bytes; at least 512.
    pub udp_size: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The EDNS version; only 0 is defined.
    pub version: u8,
    /// DO (RFC 3225).
    pub dnssec_ok: bool,
    /// Well-formed options, as on the wire.
    options: &'a [u8],
}

impl<'a> Opt<'a> {
    /// An OPT record of version 0 without options.
    pub const fn plain(udp_size: u16, dnssec_ok: bool) -> Self {
        Self { udp_size, extended_rcode: 0, version: 0, dnssec_ok, options: &[] }
    }

    /// Reads `bytes` as exactly one well-formed OPT record. `None` if they are anything else.
    ///
    /// A query with records after its question almost always has just this one.
    #[inline]
    pub fn only(bytes: &'a [u8]) -> Option<Self> {
        let (&[0, 0, 41, size0, size1, extended_rcode, version, flags, _, length0, length1], options) =
            bytes.split_first_chunk::<OPT_LEN>()?
        else {
            return None;
        };
        if options.len() != usize::from(u16::from_be_bytes([length0, length1])) {
            return None;
        }
        Self::from_parts(u16::from_be_bytes([size0, size1]), [extended_rcode, version, flags], options)
    }

    /// Finds the OPT record of a message, stepping over all other records.
    ///
    /// # Errors
    /// The message is malformed, has two OPT records (RFC 6891 section 6.1.1), or has one outside
    /// of the additional section or with an owner other than the root.
    pub fn find(message: &'a [u8]) -> Result<Option<Self>, record::Malformed> {
        let mut found = None;
        for record in Records::new(message).ok_or(record::Malformed)? {
            let record = record?;
            if record.rtype != record::OPT {
                continue;
            }
            let is_in_place = record.section == 2 && message.get(record.start) == Some(&0);
            if !is_in_place || found.is_some() {
                return Err(record::Malformed);
            }
            found = Some(Self::at(message, record).ok_or(record::Malformed)?);
        }
        Ok(found)
    }

    /// The DO bit of a message's OPT record, also if the options in it are malformed. `None` if there is
    /// no such record.
    pub fn dnssec_ok_of(message: &[u8]) -> Option<bool> {
        let mut records = Records::new(message)?.map_while(Result::ok);
        let found = records.find(|record| {
            record.section == 2 && record.rtype == record::OPT && message.get(record.start) == Some(&0)
        })?;
        message.get(found.ttl_at + 2).map(|flags| flags & 0x80 != 0)
    }

    /// Reads the OPT record at `record`. `None` if its options are malformed.
    pub fn at(message: &'a [u8], record: record::Record) -> Option<Self> {
        let udp_size = u16_at(message, record.ttl_at.checked_sub(2)?)?;
        let (&[extended_rcode, version, flags], _) = message.get(record.ttl_at..)?.split_first_chunk()?;
        Self::from_parts(udp_size, [extended_rcode, version, flags], record.data(message))
    }

    #[inline]
    fn from_parts(
        udp_size: u16,
        [extended_rcode, version, flags]: [u8; 3],
        options: &'a [u8],
    ) -> Option<Self> {
        let opt = Self {
            udp_size: udp_size.max(PLAIN_UDP_LIMIT),
            extended_rcode,
            version,
            dnssec_ok: flags & 0x80 != 0,
            options,
        };
        let mut rest = Options(options);
        rest.by_ref().for_each(drop);
        rest.0.is_empty().then_some(opt)
    }

    /// The options in order.
    #[inline]
    pub fn options(&self) -> Options<'a> {
        Options(self.options)
    }
}

/// Iterates over options.
#[derive(Clone, Debug)]
pub struct Options<'a>(&'a [u8]);

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdnsOption<'a> {
    /// The option code (IANA registry).
    pub code: u16,
    /// Code, length and data, as on the wire.
    pub wire: &'a [u8],
    /// The data, without code and length.
    pub data: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = EdnsOption<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let code = u16_at(self.0, 0)?;
        let length = usize::from(u16_at(self.0, 2)?);
        let (wire, rest) = self.0.split_at_checked(4 + length)?;
        self.0 = rest;
        Some(EdnsOption { code, wire, data: wire.get(4..)? })
    }
}

/// Makes the fixed part of our OPT record. `options` bytes of options follow it. It announces
/// [`UDP_LIMIT`] and version 0.
#[inline]
pub fn head(extended_rcode: u8, dnssec_ok: bool, options: usize) -> [u8; OPT_LEN] {
    let [size0, size1] = UDP_LIMIT.to_be_bytes();
    let [length0, length1] = count_of(options).to_be_bytes();
    [0, 0, 41, size0, size1, extended_rcode, 0, bit(dnssec_ok, 0x80), 0, length0, length1]
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE_OPTION: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn what_is_written_is_read() {
        let wire = [&head(1, true, 12)[..], COOKIE_OPTION].concat();
        let opt = Opt::only(&wire).unwrap();
        assert_eq!((opt.udp_size, opt.extended_rcode, opt.version, opt.dnssec_ok), (1232, 1, 0, true));
        let options: Vec<_> = opt.options().map(|option| (option.code, option.data.len())).collect();
        assert_eq!(options, [(COOKIE, 8)]);
        let message = [b"\0\0\0\0\0\x01\0\0\0\0\0\x01\0\0\x01\0\x01".as_slice(), &wire].concat();
        assert_eq!(Opt::find(&message), Ok(Some(opt)));
    }

    #[test]
    fn malformed_options_are_refused() {
        for options in [&[0][..], &[0, 10, 0], &[0, 10, 0, 9, 1], &[0, 10, 0, 0, 0]] {
            let wire = [&head(0, false, options.len())[..], options].concat();
            assert_eq!(Opt::only(&wire), None, "{options:02x?}");
        }
    }
}
