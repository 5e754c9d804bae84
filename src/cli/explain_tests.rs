use super::*;

/// What `tests/integration/commands.rs` has the admin port say, as people see it.
macro_rules! shown {
    ($name:literal, $paint:expr) => {{
        let golden = include_str!(concat!(
            "../../tests/integration/snapshots/integration__commands__",
            $name,
            ".snap"
        ));
        let json = golden.splitn(3, "---\n").nth(2).unwrap();
        render(&serde_json::from_str(json).unwrap(), Paint::always($paint))
    }};
}

#[test]
fn an_explanation_is_aligned_and_fits_100_columns() {
    let texts = [
        shown!("split", false),
        shown!("tier", false),
        shown!("alias", false),
        shown!("absent", false),
        shown!("stranger", false),
    ];
    let text = texts.join("--------\n");
    let wide: Vec<_> = text.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&shown!("split", false)));
}

#[test]
fn colours_say_what_is_answered() {
    let text = shown!("split", true);
    let line = |label: &str| text.lines().find(|line| line.contains(label)).unwrap().to_owned();
    assert!(line("vm-1").starts_with("\x1b[2mvm-1\x1b[0m"), "dim, as it is not answered: {text}");
    assert!(line("qk4mz").contains("\x1b[32mhealthy\x1b[0m"), "{text}");
    assert!(line("zzt8c").contains("\x1b[31munhealthy\x1b[0m"), "{text}");
    assert!(text.contains("\x1b[33mwarning\x1b[0m"), "{text}");
    assert!(!shown!("split", false).contains('\x1b'));
}

/// A name, or a reason of a check, may be anything that somebody has registered.
#[test]
fn what_others_have_written_does_not_reach_the_terminal_as_commands() {
    let golden = include_str!("../../tests/integration/snapshots/integration__commands__split.snap");
    let json = golden.splitn(3, "---\n").nth(2).unwrap();
    let evil = json.replace("Ready=False", "\\u001b]0;evil\\u0007").replace("a service", "\\u001b[2J");
    let text = render(&serde_json::from_str(&evil).unwrap(), Paint::always(false));
    assert!(text.contains("evil") && !text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}
