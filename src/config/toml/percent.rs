//! Percentages: `50` or `"50%"`.

use super::{sink::Read, table::Item, words::shorten};

/// Reads a percentage from `min` to 100: a number, or a string with a percent sign.
pub(in crate::config) fn percent(item: Item<'_>, min: u8) -> Read<u8> {
    let read = match item.value.as_str() {
        Some(text) => parse_percent(text),
        None => item.integer().and_then(|number| u8::try_from(number).ok()),
    };
    if let Some(percent) = read.filter(|percent| (min..=100).contains(percent)) {
        return Ok(percent);
    }
    let draft = item.must_be(&format!("a percentage from {min} to 100, such as 50 or \"50%\""));
    match item.value.as_str() {
        Some(text) if text.parse::<u8>().is_ok() => {
            draft.help(format!("write {:?} or {}", format!("{text}%"), shorten(text))).reject()
        }
        _ => draft.reject(),
    }
}

/// The number before the percent sign; `None` if the text is anything else.
pub(in crate::config) fn parse_percent(text: &str) -> Option<u8> {
    let digits = text.trim().strip_suffix('%')?.trim_end();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
