//! Whatever the files contain, nothing panics, and every diagnostic has a position in one of them.

use std::path::PathBuf;

use proptest::{prelude::*, sample::Index};

use super::{load_from, load_texts};

const SERVER: &str = include_str!("../../../tests/fixtures/design/muster.toml");
const ZONE: &str = include_str!("../../../tests/fixtures/design/zones/cloudmapdemo.toml");

/// Pieces that may trip up the TOML parser or a reader.
const TOKENS: [&str; 33] = [
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\\",
    "\0",
    "\u{feff}",
    "\u{301}",
    "ä",
    "🦀",
    "[services.nginx]",
    "[[import]]",
    "[services.www]\nalias = \"benigno\"\n",
    "failover = [{ }]\n",
    "names = { \"v2.web\" = { labels = { v = \"2\" } } }\n",
    "ttl = 1\n",
    "1e9",
    "-1",
    "2020-01-01",
];

/// One edit of a text.
#[derive(Clone, Debug)]
enum Edit {
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, &'static str),
    Replace(Index, char),
    Swap(Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any::<Index>().prop_map(Edit::Cut),
        (any::<Index>(), 1usize..20).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Edit::Insert(at, token)),
        (any::<Index>(), any::<char>()).prop_map(|(at, c)| Edit::Replace(at, c)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Swap(a, b)),
    ]
}

fn mangle(text: &str, edits: &[Edit]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for edit in edits {
        let length = text.len();
        if length == 0 {
            break;
        }
        match edit {
            Edit::Cut(at) => text.truncate(at.index(length)),
            Edit::Remove(at, count) => {
                let at = at.index(length);
                text.drain(at..(at + count).min(length));
            }
            Edit::Insert(at, token) => {
                let at = at.index(length);
                text.splice(at..at, token.chars());
            }
            Edit::Replace(at, c) => text[at.index(length)] = *c,
            Edit::Swap(a, b) => text.swap(a.index(length), b.index(length)),
        }
    }
    text.into_iter().collect()
}

/// Loads the texts and checks every diagnostic.
fn check(server: &str, zone: &str) -> Result<(), TestCaseError> {
    let report = match load_texts(server, zone) {
        Ok(loaded) => loaded.warnings,
        Err(report) => {
            prop_assert!(report.errors() > 0);
            report
        }
    };
    let texts = [("muster.toml", server), ("zones/shop.toml", zone)];
    for one in report.diagnostics() {
        let position = one.position();
        let text = texts.iter().find(|(path, _)| PathBuf::from(path) == position.file);
        let text = text.ok_or_else(|| TestCaseError::fail(format!("{position}")))?.1;
        let line = text.split('\n').nth(position.line - 1);
        let line = line.ok_or_else(|| TestCaseError::fail(format!("no such line: {position}")))?;
        prop_assert!(
            (1..=line.chars().count() + 1).contains(&position.column),
            "{position} is beyond {line:?}"
        );
    }
    for color in [false, true] {
        let drawn = report.render(color);
        prop_assert!(drawn.ends_with('\n'));
    }
    prop_assert!(!report.render(false).contains(|c: char| c.is_control() && c != '\n'), "{report}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mangled_examples_never_panic(
        server in prop::collection::vec(edit(), 0..4),
        zone in prop::collection::vec(edit(), 1..8),
    ) {
        check(&mangle(SERVER, &server), &mangle(ZONE, &zone))?;
    }

    #[test]
    fn random_texts_never_panic(server in any::<String>(), zone in any::<String>()) {
        check(&server, &zone)?;
    }

    #[test]
    fn random_tokens_never_panic(tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..40)) {
        check("", &tokens.concat())?;
    }

    #[test]
    fn random_values_never_panic(key in prop::sample::select(&KEYS[..]), value in "[^\"\\\\\\x00-\\x1f\\x7f]{0,30}") {
        let zone = format!("namespace = \"shop\"\n[services.web]\nfrom = [{{ static = \"10.0.0.5:80\", {key} = \"{value}\" }}]\n");
        check("", &zone)?;
        let zone = format!("namespace = \"{value}\"\n[services.\"{value}\"]\nfrom = [{{ static = [\"{value}\"] }}]\n");
        check(&format!("[listen]\ndns = \"{value}\"\n[consul.a]\naddress = \"{value}\"\n[forward]\n\"{value}\" = \"{value}\""), &zone)?;
        let zone = format!("namespace = \"shop\"\nttl = \"{value}\"\nhostmaster = \"{value}\"\n[services.web]\nfrom = \
            [{{ kubernetes = \"eks\", namespace = \"x\", selector = \"{value}\" }}, {{ static = \"10.0.0.5\", check = {{ http = \"{value}\", status = \"{value}\", interval = \"{value}\" }} }}]\n");
        check("[kubernetes.eks]", &zone)?;
        let zone = format!("namespace = \"shop\"\nprefer = \"{value}\"\nspill_below = \"{value}\"\n[services.web]\nfrom = \
            [{{ static = \"10.0.0.5:80\" }}]\nmin_healthy = \"{value}\"\nhold_down = \"{value}\"\nfailover = [{{ source = \"{value}\" }}]\n\
            routes = [{{ clients = {{ service = \"{value}\", cidr = \"{value}\" }}, split = [{{ selector = \"{value}\", weight = 1 }}] }}]\n\
            names.\"{value}\" = {{ locality = \"{value}\" }}\n[services.www]\nalias = \"{value}\"\n");
        check(&format!("reverse = \"{value}\"\n[[locality]]\ncidr = \"{value}\"\nzone = \"{value}\""), &zone)?;
    }
}

const KEYS: [&str; 5] = ["port_name", "labels", "check", "static.x", "x"];

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(100_000), "{a=".repeat(100_000), format!("a={}", "[".repeat(100_000))] {
        assert!(load_from(&[("muster.toml".into(), text)]).is_err());
    }
    let dotted = format!("{}a = 1", "a.".repeat(20_000));
    assert!(load_from(&[("muster.toml".into(), dotted)]).is_err());
}
