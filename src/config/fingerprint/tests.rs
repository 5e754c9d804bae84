use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::config::load;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn written_added_removed_and_replaced_files_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let [main, zone, other, notes] = ["muster.toml", "zones/a.toml", "zones/b.toml", "zones/notes.txt"]
        .map(|path| folder.path().join(path));
    write(&main, "");
    write(&zone, "namespace = \"a\"");
    let config = load(&main).unwrap().config;
    let take = || Fingerprint::take(&config, []);
    let mut last = take();
    let mut has_changed = || {
        let now = take();
        now != std::mem::replace(&mut last, now.clone())
    };
    assert!(!has_changed(), "nothing happened");
    write(&notes, "not ours");
    assert!(!has_changed(), "no file of the configuration");
    write(&zone, "namespace = \"aa\"");
    assert!(has_changed(), "written");
    write(&other, "namespace = \"b\"");
    assert!(has_changed(), "added");
    fs::remove_file(&other).unwrap();
    assert!(has_changed(), "removed");
    let kept = zone.metadata().unwrap().modified().unwrap();
    let copy = folder.path().join("copy");
    write(&copy, "namespace = \"bb\"");
    fs::File::options().write(true).open(&copy).unwrap().set_modified(kept).unwrap();
    fs::rename(&copy, &zone).unwrap();
    assert!(has_changed(), "another file of the same length and age");
    write(&main, "# comment");
    assert!(has_changed(), "muster.toml itself");
    fs::remove_dir_all(folder.path().join("zones")).unwrap();
    assert!(has_changed(), "the folder is gone");
    assert!(!has_changed(), "nothing happened again");
}

/// A ConfigMap as the kubelet mounts it: files are links into `..data`, itself a link that is swapped.
#[test]
fn a_swapped_link_to_the_folder_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for version in ["..1", "..2"] {
        write(&at(&format!("{version}/a.toml")), "namespace = \"a\"");
    }
    write(&at("muster.toml"), "zones = \"a.toml\"");
    symlink("..1", at("..data")).unwrap();
    symlink("..data/a.toml", at("a.toml")).unwrap();
    let config = load(&at("muster.toml")).unwrap().config;
    let before = Fingerprint::take(&config, []);
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_ne!(before, Fingerprint::take(&config, []));
}

#[test]
fn other_files_count_too() {
    let folder = tempfile::tempdir().unwrap();
    let [main, other] = ["muster.toml", "elsewhere.toml"].map(|path| folder.path().join(path));
    write(&main, "");
    let config = load(&main).unwrap().config;
    let take = || Fingerprint::take(&config, [other.as_path()]);
    let before = take();
    write(&other, "");
    assert_ne!(before, take());
}
