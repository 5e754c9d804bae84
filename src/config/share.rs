//! Parts of a whole: `50`, `"50%"`, and counts beside them.

use super::{
    routing::Amount,
    walk::{Item, shorten},
};

/// Largest count that `min_healthy` may ask for.
const MAX_COUNT: u32 = 65_535;

/// Reads percent from `min` to 100, as a number or as a text with a percent sign.
pub(super) fn percent(item: Item<'_>, min: u8) -> Option<u8> {
    let what = format!("percent from {min} to 100, such as 50 or \"50%\"");
    let read = match item.value.as_str() {
        Some(text) => of_text(text),
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

/// Reads a count, or a part with a percent sign.
pub(super) fn amount(item: Item<'_>) -> Option<Amount> {
    let what = format!("a number from 1 to {MAX_COUNT}, or a part from \"1%\" to \"100%\"");
    let read = match item.value.as_str() {
        Some(text) => of_text(text).filter(|percent| (1..=100).contains(percent)).map(Amount::Percent),
        None => item
            .integer()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|count| (1..=MAX_COUNT).contains(count))
            .map(Amount::Count),
    };
    match (read, item.value.as_str()) {
        (Some(amount), _) => Some(amount),
        (None, Some(text)) if text.parse::<u32>().is_ok() => item
            .must_be(&what)
            .help(format!("write {} for so many, or {:?} for a part", shorten(text), format!("{text}%")))
            .reject(),
        _ => item.must_be(&what).reject(),
    }
}

fn of_text(text: &str) -> Option<u8> {
    let digits = text.trim().strip_suffix('%')?.trim_end();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
