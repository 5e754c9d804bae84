//! TXT data: an instance's labels as strings `key=value` (RFC 6763 section 6).

use crate::model::Labels;

/// Largest TXT data, in bytes: with names and headers it must fit a message.
const MAX: usize = 60_000;

/// Encodes labels as character-strings `key=value`, sorted by key.
///
/// Without labels it is one empty string, since a TXT record has at least one (RFC 6763 section
/// 6.1). Labels that a client could not read are left out: more than 255 bytes with the key, or a
/// key that is empty or has other characters than printable ASCII without "=" (section 6.4).
pub(super) fn data(labels: &Labels) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in labels.iter().filter(|(key, _)| is_key(key)) {
        let Ok(length) = u8::try_from(key.len() + 1 + value.len()) else { continue };
        if data.len() + 1 + usize::from(length) > MAX {
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

    fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
        data(&pairs.iter().copied().collect())
    }

    #[test]
    fn each_label_is_a_string_and_none_is_an_empty_one() {
        assert_eq!(encode(&[("b", ""), ("a", "1=2")]), b"\x05a=1=2\x02b=");
        assert_eq!(encode(&[]), [0]);
    }

    #[test]
    fn labels_that_clients_cannot_read_are_left_out() {
        let (fits, too_long) = ("v".repeat(253), "v".repeat(254));
        assert_eq!(encode(&[("", "x"), ("a=b", "x"), ("\u{e4}", "x"), ("\t", "x"), ("k", &too_long)]), [0]);
        assert_eq!(encode(&[("k", &fits), ("l", "x")]).len(), 256 + 4);
    }

    #[test]
    fn it_fits_one_message() {
        let pairs: Vec<_> = (0..500).map(|at| (at.to_string(), "v".repeat(200))).collect();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert!((50_000..=MAX).contains(&encode(&pairs).len()));
    }
}
