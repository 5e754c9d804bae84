//! DNS cookies (RFC 7873) in the interoperable format of RFC 9018.

use std::{hash::Hasher as _, net::IpAddr};

use siphasher::sip::SipHasher24;

/// Version and reserved bytes of a server cookie (RFC 9018 section 4.1).
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// How long a cookie is valid, in seconds (RFC 9018 section 4.3).
const LIFETIME: u32 = 3600;

/// How far in the future a cookie's time may be, in seconds, because clocks differ.
const MAX_CLOCK_SKEW: u32 = 300;

/// Age at which a cookie is replaced, in seconds.
const RENEW_AFTER: u32 = 1800;

/// A query's COOKIE option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum SentCookie {
    /// There is none.
    None,
    /// Its length is neither 8 nor 16 to 40 bytes (RFC 7873 section 4).
    Malformed,
    /// Client cookie and server cookie. The server cookie is all zeros if there is none, and all ones
    /// if its length is not the 16 bytes of ours. Neither is ever valid.
    Halves([u8; 8], [u8; 16]),
}

/// Client cookie and server cookie, as sent in a response.
pub(in crate::dns) type ServerCookie = [u8; 24];

impl SentCookie {
    /// Reads the option's data.
    pub(in crate::dns) fn read(data: &[u8]) -> Self {
        match (data.split_first_chunk(), data.len()) {
            (Some((client, server)), 8 | 16..=40) => {
                let absent_or_foreign = if server.is_empty() { [0; 16] } else { [u8::MAX; 16] };
                Self::Halves(*client, server.try_into().unwrap_or(absent_or_foreign))
            }
            _ => Self::Malformed,
        }
    }
}

/// Makes and verifies cookies with one secret.
#[derive(Debug)]
pub(super) struct CookieKey {
    secret: [u8; 16],
}

impl CookieKey {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// Whether a cookie is valid at `now` (seconds since 1970, modulo 2^32), and the cookie for the
    /// response.
    pub(super) fn verify(
        &self,
        client: [u8; 8],
        server: [u8; 16],
        address: IpAddr,
        now: u32,
    ) -> (bool, ServerCookie) {
        let [v0, v1, v2, v3, t0, t1, t2, t3, ..] = server;
        let made = u32::from_be_bytes([t0, t1, t2, t3]);
        // Serial number arithmetic (RFC 1982), because 32 bits of seconds wrap around.
        let age = now.wrapping_sub(made);
        let is_current = age <= LIFETIME || made.wrapping_sub(now) <= MAX_CLOCK_SKEW;
        let expected = self.mint(client, address, made);
        // The comparison need not take constant time: even an attacker who could measure it would
        // have one hour to guess a whole hash.
        let good = [v0, v1, v2, v3] == VERSION && is_current && expected[8..] == server;
        let keep = good && age < RENEW_AFTER;
        (good, if keep { expected } else { self.mint(client, address, now) })
    }

    /// Makes the cookie of a client for a time (RFC 9018 section 4.4).
    fn mint(&self, client: [u8; 8], address: IpAddr, time: u32) -> ServerCookie {
        let mut cookie = [0; 24];
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        let (head, hash) = cookie.split_at_mut(16);
        for (target, byte) in head.iter_mut().zip(client.into_iter().chain(VERSION).chain(time.to_be_bytes()))
        {
            *target = byte;
        }
        hasher.write(head);
        match address.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hash.copy_from_slice(&hasher.finish().to_le_bytes());
        cookie
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    /// RFC 9018 appendix A.
    #[rstest]
    #[case::learning(
        "2464c4abcf10c957",
        "198.51.100.100",
        1559731985,
        "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
    )]
    #[case::renewed(
        "fc93fc62807ddb86",
        "203.0.113.203",
        1559734700,
        "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"
    )]
    fn cookies_match_the_examples_of_rfc_9018(
        #[case] client: &str,
        #[case] address: &str,
        #[case] time: u32,
        #[case] expected: &str,
    ) {
        let key = CookieKey::new(bytes("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        let (good, cookie) = key.verify(bytes(client), [0; 16], address.parse().unwrap(), time);
        assert!(!good);
        assert_eq!(cookie, bytes(expected));
    }

    /// RFC 9018 appendix A.4: IPv6, with another secret.
    #[test]
    fn an_ipv6_cookie_matches_rfc_9018() {
        let key = CookieKey::new(bytes("445536bcd2513298075a5d379663c962"));
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let (_, cookie) = key.verify(bytes("22681ab97d52c298"), [0; 16], address, 1559741961);
        assert_eq!(cookie, bytes("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
        let old = bytes("010000005cf7c57926556bd0934c72f8");
        assert!(
            !key.verify(bytes("22681ab97d52c298"), old, address, 1559741961).0,
            "made with another secret"
        );
    }

    #[rstest]
    #[case::fresh(0, true, true)]
    #[case::half_an_hour(1799, true, true)]
    #[case::to_be_renewed(1800, true, false)]
    #[case::an_hour(3600, true, false)]
    #[case::too_old(3601, false, false)]
    #[case::clock_ahead(-300, true, false)]
    #[case::from_the_future(-301, false, false)]
    fn a_cookie_is_good_for_an_hour(#[case] age: i32, #[case] good: bool, #[case] kept: bool) {
        let (key, address) = (CookieKey::new([7; 16]), [192, 0, 2, 1].into());
        let made = u32::MAX - 2000; // so that the time wraps around
        let cookie = key.mint([1; 8], address, made);
        let server = cookie[8..].try_into().unwrap();
        let now = made.wrapping_add_signed(age);
        let (is_good, reply) = key.verify([1; 8], server, address, now);
        assert_eq!((is_good, reply == cookie), (good, kept));
    }

    #[test]
    fn a_cookie_is_good_for_its_client_only() {
        let (key, address): (_, IpAddr) = (CookieKey::new([7; 16]), [192, 0, 2, 1].into());
        let server: [u8; 16] = key.mint([1; 8], address, 1000)[8..].try_into().unwrap();
        assert!(key.verify([1; 8], server, address, 1000).0);
        assert!(key.verify([1; 8], server, "::ffff:192.0.2.1".parse().unwrap(), 1000).0);
        assert!(!key.verify([2; 8], server, address, 1000).0);
        assert!(!key.verify([1; 8], server, [192, 0, 2, 2].into(), 1000).0);
        assert!(!CookieKey::new([8; 16]).verify([1; 8], server, address, 1000).0);
        let mut forged = server;
        forged[15] ^= 1;
        assert!(!key.verify([1; 8], forged, address, 1000).0);
    }

    #[rstest]
    #[case(0, false)]
    #[case(7, false)]
    #[case(8, true)]
    #[case(9, false)]
    #[case(15, false)]
    #[case(16, true)]
    #[case(24, true)]
    #[case(40, true)]
    #[case(41, false)]
    fn an_option_of_any_other_length_is_malformed(#[case] length: usize, #[case] good: bool) {
        let read = SentCookie::read(&vec![9; length]);
        assert_eq!(read != SentCookie::Malformed, good, "{read:?}");
    }
}
