//! Which files are read, and the errors about files that cannot be.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{
    super::{
        Diagnostics, KubernetesObjects, Loaded, Location, Route, SourceQuery, find, load, load::find_among,
    },
    errors,
};
use crate::model::Target;

const ZONE: &str = "namespace = \"shop\"\n";

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

fn load_in(folder: &TempDir) -> Result<Loaded, Diagnostics> {
    load(&folder.path().join("muster.toml"))
}

/// The errors without the folder's own path.
fn errors_in(folder: &TempDir) -> String {
    errors(load_in(folder)).replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn the_example_files_load() {
    let loaded =
        load(Path::new("tests/fixtures/design/muster.toml")).unwrap_or_else(|report| panic!("{report}"));
    let names: Vec<_> = loaded.files.iter().map(|path| path.display().to_string()).collect();
    let expected = ["tests/fixtures/design/muster.toml", "tests/fixtures/design/zones/cloudmapdemo.toml"];
    assert_eq!(names, expected);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    let home = std::env::home_dir().expect("HOME is set");
    assert_eq!(config.kubernetes[0].kubeconfig, Some(home.join(".kube/config")));
    assert_eq!(config.forward[0].upstreams[0].to_string(), "10.0.0.2:53");
    let [namespace] = config.namespaces.as_slice() else { panic!("{:?}", config.namespaces) };
    let names: Vec<_> = namespace.services.iter().map(|service| service.name.to_string()).collect();
    let expected = ["benigno", "details", "mysqldb", "nginx"].map(|name| format!("{name}.cloudmapdemo"));
    assert_eq!(names, expected);
    let [benigno, details, _, nginx] = namespace.services.as_slice() else { panic!("four services") };
    let [Route { clients: Some(clients), split }] = benigno.routes.as_slice() else { panic!("{benigno:?}") };
    assert_eq!(clients.to_string(), "magnanimo.cloudmapdemo");
    let groups: Vec<_> = split.iter().map(|group| (group.filter.to_string(), group.weight)).collect();
    assert_eq!(groups, [("version=v1".to_owned(), 90), ("version=v2".to_owned(), 10)]);
    let SourceQuery::Kubernetes(pods) = &nginx.from[1].query else { panic!("not kubernetes") };
    assert!(
        matches!(&pods.objects, KubernetesObjects::Pods(selector) if selector.to_string() == "app=nginx")
    );
    let SourceQuery::Static(statics) = &details.from[0].query else { panic!("not static") };
    assert!(
        matches!(&statics.instances[1].target, Target::Host(host) if host.to_string() == "vm-2.corp.example")
    );
    assert_eq!(namespace.imports[0].exclude, ["consul"]);
}

#[test]
fn a_given_file_is_used_even_if_missing() {
    assert_eq!(find(Some(Path::new("/nowhere/m.toml"))), Location::File("/nowhere/m.toml".into()));
}

#[test]
fn the_first_existing_file_is_used_or_the_demo() {
    let folder = folder(&[("b/muster.toml", b"")]);
    let [a, b] = ["a/muster.toml", "b/muster.toml"].map(|path| folder.path().join(path));
    assert_eq!(find_among(None, &[&a, &b]), Location::File(b.clone()));
    assert_eq!(find_among(None, &[&a]), Location::Demo);
    assert!(find_among(None, &[&a]).load().is_ok_and(|loaded| loaded.config.path.is_none()));
}

#[test]
fn a_missing_server_file_is_an_error_in_it() {
    let folder = folder(&[]);
    let text = errors_in(&folder);
    assert!(text.starts_with("muster.toml:1:1: error: cannot read \"muster.toml\": No such file"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn only_toml_files_of_the_folder_are_read() {
    let folder = folder(&[
        ("muster.toml", b"zones = \"names\""),
        ("names/shop.toml", ZONE.as_bytes()),
        ("names/.hidden.toml", b"?"),
        ("names/notes.txt", b"?"),
        ("names/old.toml/shop.toml", b"?"),
        ("zones/other.toml", b"?"),
    ]);
    let loaded = load_in(&folder).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.files.len(), 2, "{:?}", loaded.files);
    assert_eq!(loaded.config.namespaces[0].apex.to_string(), "shop");
}

#[test]
fn no_zone_file_is_read_twice() {
    let folder = folder(&[
        ("muster.toml", b"zones = [\"a/one.toml\", \"a\", \"two.toml\"]"),
        ("a/one.toml", b"namespace = \"one\""),
        ("two.toml", b"namespace = \"two\""),
    ]);
    let loaded = load_in(&folder).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.files.len(), 3, "{:?}", loaded.files);
}

#[test]
fn a_given_zone_folder_must_exist() {
    let folder = folder(&[("muster.toml", b"zones = [\"nowhere\"]")]);
    let text = errors_in(&folder);
    assert!(text.contains("muster.toml:1:10: error: cannot read \"nowhere\": No such file"), "{text}");
}

#[test]
fn the_default_zone_folder_may_be_missing() {
    let folder = folder(&[("muster.toml", b"")]);
    let warnings = load_in(&folder).expect("a warning only").warnings;
    let place = warnings.diagnostics()[0].position();
    assert_eq!((place.line, place.column, warnings.warnings()), (1, 1, 1), "{warnings}");
}

#[test]
fn a_dangling_link_is_an_error_at_zones() {
    let folder = folder(&[("muster.toml", b"zones = \"zones\""), ("zones/shop.toml", ZONE.as_bytes())]);
    std::os::unix::fs::symlink("nowhere", folder.path().join("zones/lost.toml")).expect("a link");
    let text = errors_in(&folder);
    assert!(text.starts_with("muster.toml:1:9: error: cannot read \"zones/lost.toml\""), "{text}");
    assert_eq!(text.lines().count(), 1, "nothing is said to be missing in it: {text}");
}

#[test]
fn bytes_that_are_not_utf8_have_a_position() {
    let folder = folder(&[("muster.toml", b""), ("zones/shop.toml", b"namespace = \"shop\"\nttl = \xff\n")]);
    let text = errors_in(&folder);
    let expected = "zones/shop.toml:2:7: error: not TOML: the file must be UTF-8; not UTF-8 from here on\n";
    assert_eq!(text, expected);
}

#[test]
fn a_broken_server_file_hides_unknown_sources() {
    let folder = folder(&[
        ("muster.toml", b"[consul.vms\n"),
        (
            "zones/shop.toml",
            b"namespace = \"shop\"\n[services.web]\nfrom = { consul = \"vms\", service = \"web\" }\n",
        ),
    ]);
    let text = errors_in(&folder);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("muster.toml:1:12: error: not TOML: "), "{text}");
}
