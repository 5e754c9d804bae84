//! Holds who may import whom: data flows one way, and nothing calls back up, neither between
//! folders nor between files.
//!
//! Rejected: a crate for each folder, so that the compiler holds the table. It cannot see circles
//! between the files of a folder, and every item that two folders share would be public.

mod circles;
mod modules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use modules::Modules;

/// Which folder of `src` may import which; a folder that is not named here may not exist.
pub(crate) const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("model", &["wire"]),
    ("config", &["model", "wire"]),
    ("telemetry", &["model"]),
    ("source", &["config", "model", "telemetry"]),
    ("state", &["config", "model", "telemetry"]),
    ("policy", &["config", "model"]),
    ("catalog", &["config", "model", "policy", "telemetry", "wire"]),
    ("forward", &["config", "model", "telemetry", "wire"]),
    ("dns", &["catalog", "config", "forward", "model", "telemetry", "wire"]),
    ("api", &["catalog", "dns", "model", "telemetry"]),
    ("app", &["api", "catalog", "config", "dns", "forward", "model", "source", "state", "telemetry"]),
    ("cli", &["app", "config", "model", "telemetry"]),
];

/// The roots of all that has more than one file.
const ROOTS: [&str; 5] = [
    "src/lib.rs",
    "benches/load/main.rs",
    "tests/testkit/src/lib.rs",
    "tests/integration/main.rs",
    "tests/e2e/main.rs",
];

fn read(root: &str) -> Modules {
    Modules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root), &|file| fs::read_to_string(file).ok())
}

fn relative(file: &Path) -> String {
    file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display().to_string()
}

/// The circles between files, each as a line such as `a.rs -> b.rs (Thing) -> a.rs (Other)`.
fn circles_of(modules: &Modules) -> Vec<String> {
    let edges = modules.edges();
    let name = |file: usize| relative(modules.file(file));
    let line = |circle: &Vec<usize>| {
        let mut line = name(circle[0]);
        for (at, from) in circle.iter().enumerate() {
            let to = circle[(at + 1) % circle.len()];
            line += &format!(" -> {} ({})", name(to), edges[&(*from, to)]);
        }
        line
    };
    circles::find(edges.keys().copied()).iter().map(line).collect()
}

#[test]
fn folders_import_only_what_they_may() {
    let modules = read("src/lib.rs");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, import) in modules.first_names() {
        let file = relative(modules.file(file));
        let folder = file.split('/').nth(1).unwrap();
        if folder == "lib.rs" {
            continue;
        }
        let Some((folder, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == folder) else {
            wrong.push(format!("{file}: the table does not have {folder}"));
            continue;
        };
        seen.insert(*folder);
        if import != *folder && !allowed.contains(&import.as_str()) {
            wrong.push(format!("{file}: {folder} must not import {import}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let circles: Vec<String> = ROOTS.into_iter().flat_map(|root| circles_of(&read(root))).collect();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

/// The circles of a crate with these files, whose root is `lib.rs`.
fn circles_in(files: &[(&str, &str)]) -> Vec<String> {
    let files: BTreeMap<_, _> = files.iter().map(|(path, text)| (Path::new(path), *text)).collect();
    circles_of(&Modules::read(Path::new("lib.rs"), &|file| files.get(file).map(|text| (*text).to_owned())))
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let mut files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; fn f() -> super::a::A { super::a::A }"),
    ];
    assert_eq!(circles_in(&files), ["a.rs -> b.rs (B) -> a.rs (A)"]);
    files[2].1 = "pub struct B;";
    assert!(circles_in(&files).is_empty());
}

#[test]
fn a_longer_circle_is_given_as_a_path() {
    let files = [
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod a; mod b; mod c; pub use a::A;"),
        ("x/a.rs", "use super::{b::{B, self}, c::Far}; pub struct A(B); fn f() { b::g() }"),
        ("x/b.rs", "pub struct B(super::c::C); pub fn g() {}"),
        (
            "x/c.rs",
            "use crate::x; pub struct C; pub struct Far; fn f() { println!(\"{}\", vec![x::A::new()]) }",
        ),
    ];
    assert_eq!(
        circles_in(&files),
        ["x/a.rs -> x/c.rs (Far) -> x/a.rs (A)", "x/b.rs -> x/c.rs (C) -> x/a.rs (A) -> x/b.rs (B)"]
    );
}

#[test]
fn a_front_door_that_re_exports_is_in_no_circle() {
    let files = [
        ("lib.rs", "pub mod x; pub use x::A;"),
        ("x/mod.rs", "mod a; mod b; pub use a::{A, f as g}; pub(crate) use b::*;"),
        ("x/a.rs", "use super::B; pub struct A(B); pub fn f() {}"),
        ("x/b.rs", "pub struct B; enum E { V } use E::V; fn f() { let _ = (std::mem::take, V); }"),
    ];
    assert!(circles_in(&files).is_empty());
}

#[test]
fn a_child_that_needs_an_item_of_its_user_is_a_circle() {
    let mut files = [
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod a; pub use a::A; pub struct Own; fn f(a: A) {}"),
        ("x/a.rs", "pub struct A(super::Own);"),
    ];
    assert_eq!(circles_in(&files), ["x/mod.rs -> x/a.rs (A) -> x/mod.rs (Own)"]);
    files[1].1 = "mod a; pub use a::A; pub struct Own;";
    assert!(circles_in(&files).is_empty(), "a re-export alone needs nothing");
}

#[test]
fn code_of_tests_is_in_no_circle() {
    let files = [
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod testing;"),
        ("a.rs", "use crate::b::B; pub struct A; #[cfg(test)] mod tests;"),
        ("a/tests.rs", "use super::*; fn f(_: crate::testing::T) {}"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] use crate::a::A; impl B { #[cfg(test)] fn f() -> crate::a::A { A } } \
             #[cfg(test)] mod tests { use super::*; use crate::a::A; }",
        ),
        ("testing.rs", "pub struct T(crate::a::A);"),
    ];
    assert!(circles_in(&files).is_empty());
}

#[test]
fn the_reader_sees_imports_of_every_form() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        (
            "a.rs",
            "use crate::{b::{X, Y}, c}; /* crate::e */ fn f() { assert!(crate::d::x(), \"crate::e::y\") }",
        ),
        ("b.rs", ""),
        ("c.rs", ""),
        ("d.rs", "mod inner { use super::super::b::X; }"),
        ("e.rs", "#[cfg(test)] mod tests { fn f() { crate::d::x() } }"),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(path, text)| (Path::new(path), text)).collect();
    let modules = Modules::read(Path::new("lib.rs"), &|file| files.get(file).map(|text| (*text).to_owned()));
    let names = modules.first_names();
    let names: Vec<_> =
        names.iter().map(|(file, name)| format!("{} {name}", relative(modules.file(*file)))).collect();
    assert_eq!(names, ["a.rs b", "a.rs c", "a.rs d", "d.rs b", "e.rs d"]);
}
