//! Durations as people write them: `300ms`, `5s`, `1h30m`.

use std::time::Duration;

use super::table::Item;

/// Units and their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration within `min..=max`.
pub(in crate::config) fn duration(item: Item<'_>, min: Duration, max: Duration) -> Option<Duration> {
    let what = format!("a duration from {:?} to {:?}", show_duration(min), show_duration(max));
    let Some(text) = item.value.as_str() else {
        let draft = item.must_be(&what);
        return match item.value.as_integer() {
            Some(number) => draft.help(format!("with a unit, such as \"{}s\"", number.as_str())).reject(),
            None => draft.reject(),
        };
    };
    match parse(text) {
        Ok(duration) if (min..=max).contains(&duration) => Some(duration),
        Ok(_) => item.must_be(&what).reject(),
        Err(why) => item.must_be(&what).help(why).reject(),
    }
}

/// Reads one or more numbers with units, such as `1h30m`.
///
/// # Errors
/// What to write instead, for people.
pub(in crate::config) fn parse(text: &str) -> Result<Duration, String> {
    const FORM: &str = "a whole number and a unit (ms, s, m, h or d), such as \"5s\" or \"1h30m\"";
    let mut milliseconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("write {FORM}"));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        if number.is_empty() || (unit.is_empty() && !next.is_empty()) {
            return Err(format!("write {FORM}"));
        }
        if unit.is_empty() {
            return Err(format!("add a unit, such as \"{number}s\""));
        }
        let length = UNITS
            .iter()
            .find_map(|(name, length)| (*name == unit).then_some(*length))
            .ok_or_else(|| format!("write {FORM}"))?;
        milliseconds = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(length))
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or_else(|| "it is too long".to_owned())?;
        rest = next;
    }
    Ok(Duration::from_millis(milliseconds))
}

/// Writes a duration as [`parse`] reads it, in the longest unit that it is a whole number of.
pub(in crate::config) fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    UNITS.iter().find(|(_, length)| milliseconds.is_multiple_of(*length)).map_or_else(
        || format!("{milliseconds}ms"),
        |(unit, length)| format!("{}{unit}", milliseconds / length),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("5s", 5_000)]
    #[case("300ms", 300)]
    #[case("1m", 60_000)]
    #[case("1h", 3_600_000)]
    #[case("24h", 86_400_000)]
    #[case("1d", 86_400_000)]
    #[case("1h30m", 5_400_000)]
    #[case("1m500ms", 60_500)]
    #[case("0s", 0)]
    fn it_reads_numbers_with_units(#[case] text: &str, #[case] milliseconds: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)));
    }

    #[rstest]
    #[case("")]
    #[case("s")]
    #[case("5")]
    #[case("5x")]
    #[case("-5s")]
    #[case("1.5s")]
    #[case("5 s")]
    #[case("5sec")]
    #[case("99999999999999999999s")]
    #[case("999999999999999999d")]
    fn anything_else_is_refused(#[case] text: &str) {
        assert!(parse(text).is_err(), "{text}");
    }

    #[test]
    fn a_number_alone_is_told_to_take_a_unit() {
        assert_eq!(parse("5"), Err("add a unit, such as \"5s\"".into()));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(milliseconds in 0u64..1_000_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
