//! Text from outside, made fit for one line of a log, a terminal or a JSON field.

/// The first `limit` characters of `text`, with each run of whitespace and control characters as
/// one space.
///
/// Leading and trailing whitespace is dropped.
///
/// *Cost*: reads `text` only as far as the result needs it.
pub fn one_line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let spaced = words
        .enumerate()
        .flat_map(|(index, word)| (index > 0).then_some(' ').into_iter().chain(word.chars()));
    spaced.take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_and_control_characters_become_one_space() {
        assert_eq!(one_line("  HTTP GET\n\t503 \u{0} \u{1b}[31mgone\n", 100), "HTTP GET 503 [31mgone");
        assert_eq!(one_line(" \n\u{7}", 100), "");
    }

    #[test]
    fn limit_counts_characters() {
        assert_eq!(one_line("äöü äöü", 5), "äöü ä");
        assert_eq!(one_line("a b", 0), "");
        assert_eq!(one_line(&"x".repeat(10_000), 3), "xxx");
    }
}
