//! "Did you mean …?": the word that a misspelled one is probably meant to be.

/// The candidate closest to `text`; `None` if none is close.
///
/// A candidate is close if few characters of one must be inserted, deleted, replaced or swapped
/// with their neighbor to get the other: a third of the shorter one's length, but at least one and
/// at most three. Upper and lower case are the same. Of two equally close candidates the first
/// wins.
///
/// *Cost*: the product of the two lengths for each candidate. Texts over 100 bytes match nothing,
/// so that a long one cannot take long.
pub fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    const MAX: usize = 100;
    if text.len() > MAX {
        return None;
    }
    let text = text.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&text, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (text.len().min(candidate.len()) / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_within_a_third_is_meant() {
        for (text, expected) in [
            ("selectr", Some("selector")),
            ("SELECTOR", Some("selector")),
            ("esrvice", Some("service")),
            ("so", None),
            ("port_numbers_of_it", None),
            ("prot", Some("port")),
            ("", None),
        ] {
            assert_eq!(nearest(text, ["port", "selector", "service"]), expected, "{text}");
        }
        assert_eq!(nearest("max_connect", ["max_connections"]), None, "four characters are too many");
    }

    #[test]
    fn a_long_text_matches_nothing() {
        let long = "a".repeat(101);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }
}
