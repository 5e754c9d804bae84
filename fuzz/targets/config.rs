//! Any text as configuration: it is accepted, or refused with a report that can be shown; never a
//! panic.
//!
//! Lines of `---` divide the text into `muster.toml` and zone files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::{catalog::Catalog, config};

fuzz_target!(|text: &str| {
    let parts = text.split("\n---\n").enumerate();
    let files: Vec<_> = parts
        .map(|(at, part)| match at {
            0 => ("muster.toml".into(), part.to_owned()),
            _ => (format!("zones/{at}.toml").into(), part.to_owned()),
        })
        .collect();
    match config::load_from(&files) {
        // An accepted configuration must be usable.
        Ok(loaded) => drop(Catalog::new(&loaded.config, 1)),
        Err(report) => assert!(!report.render(false).is_empty(), "an error without a word"),
    }
});
