//! What the files of a configuration look like from outside, for noticing that they have changed.
//!
//! Looking now and then was preferred to inotify: a Kubernetes ConfigMap is changed by pointing a link two folders above to
//! another place, and network file systems tell nobody.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{files::files_of, schema::Config};

/// What some files looked like at one moment, links followed.
///
/// Two are equal when no file has come, gone or been written in between, as far as that can be seen without reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Option<Look>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    /// Device and number: a file that took another's place.
    inode: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds of the last change of the content.
    modified: (i64, i64),
    /// The same of the last change of anything, which a copy that keeps the other time does not keep.
    changed: (i64, i64),
}

impl Fingerprint {
    /// Looks at every file of `config`, and at these files `besides`. *Cost*: one system call a file; reads nothing.
    pub fn take<'a>(config: &Config, besides: impl IntoIterator<Item = &'a Path>) -> Self {
        let zones = config.zones.iter().flat_map(|path| match files_of(path) {
            Ok(files) => files,
            Err(_) => vec![path.clone()],
        });
        let files = config.path.iter().cloned().chain(zones);
        Self(files.map(|file| (file.clone(), look(&file))).collect()).with(besides)
    }

    /// Looks at further files.
    #[must_use]
    pub fn with<'a>(mut self, besides: impl IntoIterator<Item = &'a Path>) -> Self {
        self.0.extend(besides.into_iter().map(|file| (file.to_owned(), look(file))));
        self
    }
}

/// What a file looks like; `None` if it is not there.
fn look(path: &Path) -> Option<Look> {
    let metadata = path.metadata().ok()?;
    Some(Look {
        inode: (metadata.dev(), metadata.ino()),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::config::load;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn files_that_are_written_come_go_or_take_anothers_place_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [main, zone, other, notes] = ["muster.toml", "zones/a.toml", "zones/b.toml", "zones/notes.txt"]
            .map(|path| folder.path().join(path));
        write(&main, "");
        write(&zone, "namespace = \"a\"");
        let config = load(&main).unwrap().config;
        let stamp = || Fingerprint::take(&config, []);
        let mut last = stamp();
        let mut is_news = || {
            let now = stamp();
            now != std::mem::replace(&mut last, now.clone())
        };
        assert!(!is_news(), "nothing was done");
        write(&notes, "not ours");
        assert!(!is_news(), "no file of the configuration");
        write(&zone, "namespace = \"aa\"");
        assert!(is_news(), "written");
        write(&other, "namespace = \"b\"");
        assert!(is_news(), "come");
        fs::remove_file(&other).unwrap();
        assert!(is_news(), "gone");
        let kept = zone.metadata().unwrap().modified().unwrap();
        let copy = folder.path().join("copy");
        write(&copy, "namespace = \"bb\"");
        fs::File::options().write(true).open(&copy).unwrap().set_modified(kept).unwrap();
        fs::rename(&copy, &zone).unwrap();
        assert!(is_news(), "another file of the same length and age");
        write(&main, "# comment");
        assert!(is_news(), "muster.toml itself");
        fs::remove_dir_all(folder.path().join("zones")).unwrap();
        assert!(is_news(), "the folder is gone");
        assert!(!is_news());
    }

    /// As the kubelet mounts a ConfigMap: files are links into `..data`, which is a link that is swapped.
    #[test]
    fn a_swapped_link_above_is_noticed() {
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
    fn files_besides_those_of_the_configuration_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let [main, other] = ["muster.toml", "elsewhere.toml"].map(|path| folder.path().join(path));
        write(&main, "");
        let config = load(&main).unwrap().config;
        let stamp = || Fingerprint::take(&config, [other.as_path()]);
        let before = stamp();
        write(&other, "");
        assert_ne!(before, stamp());
    }
}
