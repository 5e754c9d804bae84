//! Whether a message answers a query.

use super::super::{
    message::{HEADER, flag, knows_no_edns, question},
    upstream_query::QueryForm,
};

/// Tells whether `message` answers `query`: its id, that it is an answer, and the question (RFC 5452 section 9.1). Letter case
/// counts only where it was chosen at random. A server that does not know EDNS may say so with a header alone.
pub(super) fn is_answer(query: &[u8], message: &[u8], form: QueryForm) -> bool {
    let is_response = message.get(2).is_some_and(|flags| flags & (flag::RESPONSE | 0x78) == flag::RESPONSE);
    if !is_response || query.get(..2) != message.get(..2) {
        return false;
    }
    if message.len() == HEADER {
        return form.edns && message.get(4..6) == Some(&[0; 2]) && knows_no_edns(message);
    }
    let (Some(asked), Some(answered)) = (question(query), question(message)) else { return false };
    let (Some((asked, asked_type)), Some((answered, answered_type))) =
        (asked.split_last_chunk::<4>(), answered.split_last_chunk::<4>())
    else {
        return false;
    };
    // Type and class have no letter case, though some have bytes that look so.
    asked_type == answered_type
        && if form.mixed_case { asked == answered } else { asked.eq_ignore_ascii_case(answered) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_an_answer_may_differ_in_letter_case() {
        const HTTPS: [u8; 2] = [0, 65];
        let query = |qtype: [u8; 2], name: &[u8]| {
            let flags = [0, 7, flag::RESPONSE, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            [&flags, name, &qtype, &[0, 1]].concat()
        };
        let asked = query(HTTPS, b"\x03web\x00");
        for (mixed_case, is_same) in [(false, true), (true, false)] {
            let form = QueryForm { mixed_case, edns: true };
            assert!(is_answer(&asked, &asked, form));
            assert_eq!(is_answer(&asked, &query(HTTPS, b"\x03WEB\x00"), form), is_same);
            // 65 and 97 are one letter in two cases.
            assert!(!is_answer(&asked, &query([0, 97], b"\x03web\x00"), form));
        }
    }
}
