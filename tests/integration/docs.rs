//! Holds the documents to the tree: ARCHITECTURE.md has every file, and links lead somewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::architecture::MAY_IMPORT;

const ARCHITECTURE: &str = include_str!("../../docs/ARCHITECTURE.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this extension in `folder`, relative to the root.
fn files(folder: &str, extension: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.insert(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found
}

/// The first cell of a table's row, if it is code.
fn first_cell(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split('`').next()
}

/// The part of ARCHITECTURE.md below a heading.
fn section(heading: &str) -> impl Iterator<Item = &'static str> {
    let (_, rest) = ARCHITECTURE.split_once(&format!("\n{heading}\n")).unwrap();
    rest.lines().take_while(|line| !line.starts_with("## "))
}

#[test]
fn the_architecture_lists_every_file() {
    let mut folder = "";
    let mut listed = BTreeSet::new();
    for line in section("## Folders") {
        if let Some(heading) = line.strip_prefix("### ").or_else(|| line.strip_prefix("#### ")) {
            folder = heading.trim_matches('`');
        } else if let Some(file) = first_cell(line).filter(|_| folder.starts_with("src/")) {
            listed.insert(format!("{folder}{file}"));
        }
    }
    let is_test = |file: &String| {
        let parts: Vec<_> = file.split('/').collect();
        parts.contains(&"tests") || matches!(parts.last(), Some(&("tests.rs" | "fake.rs" | "testing.rs")))
    };
    let there: BTreeSet<_> = files("src", "rs").into_iter().filter(|file| !is_test(file)).collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not listed: {missing:?}; not there: {gone:?}");
}

#[test]
fn the_architecture_has_the_import_table() {
    let rows = section("## Who may import whom").filter(|line| line.starts_with("| `"));
    let table: BTreeMap<&str, BTreeSet<&str>> = rows
        .map(|row| {
            let mut codes = row.split('`').skip(1).step_by(2);
            (codes.next().unwrap(), codes.collect())
        })
        .collect();
    let tested = MAY_IMPORT.iter().map(|(folder, may)| (*folder, may.iter().copied().collect())).collect();
    assert_eq!(table, tested);
}

#[test]
fn the_decisions_of_the_architecture_are_made_in_files_that_exist() {
    let codes = section("## Where each decision is made").filter(|line| line.starts_with("| "));
    let codes: Vec<_> =
        codes.flat_map(|row| row.rsplit("| ").next().unwrap().split('`').skip(1).step_by(2)).collect();
    let gone: Vec<_> = codes.iter().filter(|path| !root().join("src").join(path).exists()).collect();
    assert!(codes.len() > 60 && gone.is_empty(), "{} paths, not there: {gone:?}", codes.len());
}

/// The anchor that a forge gives a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A document without its blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = files("docs", "md");
    documents.extend(files("deploy", "md"));
    documents
        .extend(["README.md", "CHANGELOG.md", "benches/README.md", "tests/rig/README.md"].map(str::to_owned));
    let read = |file: &Path| prose(&fs::read_to_string(root().join(file)).unwrap());
    let mut broken = Vec::new();
    let mut count = 0;
    for document in &documents {
        let text = read(Path::new(document));
        let links = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split([')', ' ']).next());
        for link in links.filter(|link| !link.starts_with("http")) {
            count += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(document).parent().unwrap();
            let target: PathBuf = if path.is_empty() { document.into() } else { folder.join(path) };
            let is_there = root().join(&target).exists();
            let has_heading = || {
                let text = read(&target);
                text.lines().any(|line| line.starts_with('#') && anchor(line) == fragment)
            };
            if !is_there || !fragment.is_empty() && !has_heading() {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(count > 150 && broken.is_empty(), "of {count} links are broken: {broken:#?}");
}
