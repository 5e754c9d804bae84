use super::*;

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Renders a golden response of the admin port from `tests/integration/commands.rs`.
macro_rules! rendered {
    ($name:literal) => {{
        let golden = include_str!(concat!(
            "../../../tests/integration/snapshots/integration__commands__",
            $name,
            ".snap"
        ));
        let json = golden.splitn(3, "---\n").nth(2).unwrap();
        render(&serde_json::from_str(json).unwrap())
    }};
}

#[test]
fn an_explanation_is_aligned_and_fits_100_columns() {
    let texts = [
        plain(&rendered!("split")),
        plain(&rendered!("tier")),
        plain(&rendered!("alias")),
        plain(&rendered!("absent")),
        plain(&rendered!("stranger")),
    ];
    let text = texts.join("--------\n");
    let wide: Vec<_> = text.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(&plain(&rendered!("split"))));
}

#[test]
fn colors_show_what_is_answered() {
    let text = rendered!("split");
    let line = |label: &str| text.lines().find(|line| line.contains(label)).unwrap().to_owned();
    assert!(line("vm-1").starts_with("\x1b[2mvm-1\x1b[0m"), "dim, as it is not answered: {text}");
    assert!(line("qk4mz").contains("\x1b[32mhealthy\x1b[0m"), "{text}");
    assert!(line("zzt8c").contains("\x1b[31munhealthy\x1b[0m"), "{text}");
    assert!(text.contains("\x1b[33mwarning\x1b[0m"), "{text}");
    assert!(!plain(&rendered!("split")).contains('\x1b'));
}

/// A name, or a check's reason, is whatever was registered.
#[test]
fn foreign_text_does_not_control_the_terminal() {
    let golden = include_str!("../../../tests/integration/snapshots/integration__commands__split.snap");
    let json = golden.splitn(3, "---\n").nth(2).unwrap();
    let evil = json.replace("Ready=False", "\\u001b]0;evil\\u0007").replace("a service", "\\u001b[2J");
    let text = render(&serde_json::from_str(&evil).unwrap());
    assert!(text.contains("]0;evil") && text.contains("[2J"), "{text:?}");
    assert!(!text.contains("\x1b]") && !text.contains("\x1b[2J") && !text.contains('\x07'), "{text:?}");
}
