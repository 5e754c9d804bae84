//! Percent: `50` or `"50%"`.

use super::{table::Item, words::shorten};

/// Reads percent from `min` to 100, as a number or as a text with a percent sign.
pub(in crate::config) fn percent(item: Item<'_>, min: u8) -> Option<u8> {
    let what = format!("percent from {min} to 100, such as 50 or \"50%\"");
    let read = match item.value.as_str() {
        Some(text) => percent_of_text(text),
        None => item.integer().and_then(|number| u8::try_from(number).ok()),
    };
    match (read, item.value.as_str()) {
        (Some(percent), _) if (min..=100).contains(&percent) => Some(percent),
        (None, Some(text)) if text.parse::<u8>().is_ok() => {
            item.must_be(&what).help(format!("write {:?} or {}", format!("{text}%"), shorten(text))).reject()
        }
        _ => item.must_be(&what).reject(),
    }
}

pub(in crate::config) fn percent_of_text(text: &str) -> Option<u8> {
    let digits = text.trim().strip_suffix('%')?.trim_end();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
