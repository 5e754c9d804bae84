//! Whether a message answers a query.

use super::super::{message::knows_no_edns, upstream_query::QueryForm};
use crate::wire::{self, HEADER_LEN, header::RESPONSE};

/// QR and OPCODE, of the third byte.
const KIND: u8 = RESPONSE | 0x78;

/// Whether `message` answers `query`: same ID, a response, same question (RFC 5452 section 9.1).
/// Letter case counts only if it was chosen at random. A server that does not know EDNS may answer
/// with a header alone.
pub(super) fn is_answer(query: &[u8], message: &[u8], form: QueryForm) -> bool {
    let is_response = message.get(2).is_some_and(|flags| flags & KIND == RESPONSE);
    if !is_response || query.get(..2) != message.get(..2) {
        return false;
    }
    if message.len() == HEADER_LEN {
        return form.edns && message.get(4..6) == Some(&[0; 2]) && knows_no_edns(message);
    }
    let (Some(sent), Some(received)) = (wire::question(query), wire::question(message)) else { return false };
    let (Some((sent, sent_type)), Some((received, received_type))) =
        (sent.split_last_chunk::<4>(), received.split_last_chunk::<4>())
    else {
        return false;
    };
    // Type and class have no letter case, though some of their bytes look like letters.
    sent_type == received_type
        && if form.mixed_case { sent == received } else { sent.eq_ignore_ascii_case(received) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_may_differ_in_letter_case() {
        const HTTPS: [u8; 2] = [0, 65];
        let query = |qtype: [u8; 2], name: &[u8]| {
            let flags = [0, 7, RESPONSE, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            [&flags, name, &qtype, &[0, 1]].concat()
        };
        let asked = query(HTTPS, b"\x03web\x00");
        for (mixed_case, is_same) in [(false, true), (true, false)] {
            let form = QueryForm { mixed_case, edns: true };
            assert!(is_answer(&asked, &asked, form));
            assert_eq!(is_answer(&asked, &query(HTTPS, b"\x03WEB\x00"), form), is_same);
            // 65 and 97 are the same letter in two cases.
            assert!(!is_answer(&asked, &query([0, 97], b"\x03web\x00"), form));
        }
    }
}
