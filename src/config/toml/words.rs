//! Words of diagnostics.

/// The beginning of a long text.
pub(in crate::config) fn shorten(text: &str) -> String {
    const MAX: usize = 60;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => {
            debug_assert!(text.is_char_boundary(at), "char_indices gives boundaries");
            format!("{}...", text.get(..at).unwrap_or_default())
        }
        None => text.to_owned(),
    }
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
