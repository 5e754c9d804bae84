//! Holds which module may import which: data flows one way, and nothing calls back up.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Who may import whom; a module that is not named here may not exist. `app` and `cli` know all.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("model", &["wire"]),
    ("config", &["model", "wire"]),
    ("telemetry", &["model"]),
    ("source", &["config", "model"]),
    ("policy", &["config", "model"]),
    ("catalog", &["config", "model", "policy", "telemetry", "wire"]),
    ("forward", &["config", "model", "telemetry", "wire"]),
    ("dns", &["catalog", "config", "forward", "model", "telemetry", "wire"]),
    ("admin", &["catalog", "dns", "model", "telemetry"]),
    ("app", &["admin", "catalog", "config", "dns", "forward", "model", "source", "telemetry"]),
    ("cli", &["app", "config", "model", "telemetry"]),
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The modules that a file names by `crate::module`, be it in a `use`, grouped or not, or in the code.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let first_word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(first_word(rest));
            continue;
        };
        // Each name of the outer braces: behind the opening one and behind each comma that no inner brace holds.
        found.insert(first_word(group));
        let mut depth = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => drop(found.insert(first_word(&group[at + 1..]))),
                _ => {}
            }
        }
    }
    found.into_iter().filter(|word| MAY_IMPORT.iter().any(|(module, _)| module == word)).collect()
}

#[test]
fn modules_import_only_what_they_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let first = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(first, "main" | "lib") {
            continue;
        }
        let Some((module, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == first) else {
            wrong.push(format!("{}: the table does not know the module {first}", relative.display()));
            continue;
        };
        seen.insert(*module);
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            if import != *module && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{}: {module} must not import {import}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(seen.len(), MAY_IMPORT.len(), "modules of the table that do not exist: it has {seen:?}");
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let text = "use crate::model::Name;\nuse crate::{\n    catalog::{Cell, Zone},\n    dns,\n};\n// crate::admin\nfn f() { crate::source::x() }";
    let expected = ["catalog", "dns", "model", "source"].map(str::to_owned);
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), expected);
}
