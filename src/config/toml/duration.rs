//! Durations as users write them: `300ms`, `5s`, `1h30m`.
//!
//! Rejected: jiff, which prints 365 days as `8760h` and reads `1.5s`, `5 s`, negative and ISO 8601
//! durations as well, where the reference promises one form.

use std::time::Duration;

use super::{sink::Read, table::Item};

/// The units and their lengths in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration within `min..=max`.
pub(in crate::config) fn duration(item: Item<'_>, min: Duration, max: Duration) -> Read<Duration> {
    let expected = format!("a duration from {:?} to {:?}", format_duration(min), format_duration(max));
    let Some(text) = item.value.as_str() else {
        let draft = item.must_be(&expected);
        return match item.value.as_integer() {
            Some(number) => draft.help(format!("add a unit, such as \"{}s\"", number.as_str())).reject(),
            None => draft.reject(),
        };
    };
    match parse_duration(text) {
        Ok(duration) if (min..=max).contains(&duration) => Ok(duration),
        Ok(_) => item.must_be(&expected).reject(),
        Err(help) => item.must_be(&expected).help(help).reject(),
    }
}

/// Reads one or more numbers with units, such as `1h30m`.
///
/// # Errors
/// What to write instead, as advice to the user.
pub(in crate::config) fn parse_duration(text: &str) -> Result<Duration, String> {
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
            .ok_or_else(|| "the duration is too long".to_owned())?;
        rest = next;
    }
    Ok(Duration::from_millis(milliseconds))
}

/// Writes a duration as [`parse_duration`] reads it, in the longest unit that divides it.
pub(in crate::config) fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let divides = |(_, length): &&(&str, u64)| milliseconds.is_multiple_of(u128::from(*length));
    let (unit, length) = UNITS.iter().find(divides).unwrap_or(&("ms", 1));
    format!("{}{unit}", milliseconds / u128::from(*length))
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
    fn numbers_with_units_are_read(#[case] text: &str, #[case] milliseconds: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)));
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
        assert!(parse_duration(text).is_err(), "{text}");
    }

    #[test]
    fn a_number_alone_needs_a_unit() {
        assert_eq!(parse_duration("5"), Err("add a unit, such as \"5s\"".into()));
    }

    proptest! {
        #[test]
        fn formatted_durations_parse_back(milliseconds in 0u64..1_000_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
