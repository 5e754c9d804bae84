//! TXT data: an instance's labels as character-strings (RFC 6763 section 6).

use crate::model::Labels;

/// Most octets of TXT data: with names and headers around it, it must fit into one message.
const MOST: usize = 60_000;

/// One character-string `key=value` for each label, in the order of their keys; a single empty one
/// if there is none, since a TXT record has at least one (RFC 6763 section 6.1).
///
/// Left out is what a client could not read: more than 255 octets with the key, and keys that are
/// empty or have other characters than printable ASCII, or "=" (section 6.4).
pub(super) fn data(labels: &Labels) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in labels.iter().filter(|(key, _)| is_key(key)) {
        let Ok(length) = u8::try_from(key.len() + 1 + value.len()) else { continue };
        if data.len() + 1 + usize::from(length) > MOST {
            break;
        }
        data.push(length);
        data.extend_from_slice(key.as_bytes());
        data.push(b'=');
        data.extend_from_slice(value.as_bytes());
    }
    if data.is_empty() {
        data.push(0);
    }
    data
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|octet| matches!(octet, 0x20..=0x7e) && octet != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<u8> {
        data(&pairs.iter().copied().collect())
    }

    #[test]
    fn a_label_is_a_string_and_none_is_an_empty_one() {
        assert_eq!(of(&[("b", ""), ("a", "1=2")]), b"\x05a=1=2\x02b=");
        assert_eq!(of(&[]), [0]);
    }

    #[test]
    fn what_no_client_could_read_is_left_out() {
        let (fits, too_long) = ("v".repeat(253), "v".repeat(254));
        assert_eq!(of(&[("", "x"), ("a=b", "x"), ("\u{e4}", "x"), ("\t", "x"), ("k", &too_long)]), [0]);
        assert_eq!(of(&[("k", &fits), ("l", "x")]).len(), 256 + 4);
    }

    #[test]
    fn it_fits_into_one_message() {
        let pairs: Vec<_> = (0..500).map(|at| (at.to_string(), "v".repeat(200))).collect();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert!((50_000..=MOST).contains(&of(&pairs).len()));
    }
}
