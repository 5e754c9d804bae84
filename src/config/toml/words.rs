//! Text for people: what was found, what may have been meant.

/// The beginning of a long text.
pub(in crate::config) fn shorten(text: &str) -> String {
    const MAX: usize = 60;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The candidate that `text` was most probably meant to be.
pub(in crate::config) fn nearest<'c>(
    text: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    const MAX: usize = 100;
    if text.len() > MAX {
        return None;
    }
    let text = text.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&text, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (text.len().min(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The words in quotes, such as `"a", "b" and "c"`.
pub(in crate::config) fn list(words: &[&str], conjunction: &str) -> String {
    let mut quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.pop() {
        None => "none".to_owned(),
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} {conjunction} {last}", quoted.join(", ")),
    }
}
