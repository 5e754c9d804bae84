//! Notices that the files of a configuration have changed, from their metadata.
//!
//! Rejected: inotify. A Kubernetes ConfigMap changes when a link two folders up is pointed
//! elsewhere, and network file systems send no events.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{files::files_of, schema::Config};

/// The metadata of some files at one moment, with links followed.
///
/// Two fingerprints are equal if no file was added, removed or written in between, as far as
/// metadata can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Option<FileMetadata>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileMetadata {
    /// Device and inode number: they change if another file takes this one's place.
    inode: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds of the last change of the content.
    modified: (i64, i64),
    /// The same of the last change of content or metadata, which a copy that keeps `modified`
    /// changes.
    changed: (i64, i64),
}

impl Fingerprint {
    /// Takes the fingerprint of all files of `config`, and of `others`.
    ///
    /// *Cost*: one system call a file and folder; reads no file.
    pub fn take<'a>(config: &Config, others: impl IntoIterator<Item = &'a Path>) -> Self {
        let zones = config.zones.iter().flat_map(|path| match files_of(path) {
            Ok(files) => files,
            Err(_) => vec![path.clone()],
        });
        let files = config.path.iter().cloned().chain(zones);
        Self(files.map(|file| (file.clone(), metadata_of(&file))).collect()).with(others)
    }

    /// Adds the fingerprint of other files.
    #[must_use]
    pub fn with<'a>(mut self, others: impl IntoIterator<Item = &'a Path>) -> Self {
        self.0.extend(others.into_iter().map(|file| (file.to_owned(), metadata_of(file))));
        self
    }
}

/// A file's metadata; `None` if it cannot be read.
fn metadata_of(path: &Path) -> Option<FileMetadata> {
    let metadata = path.metadata().ok()?;
    Some(FileMetadata {
        inode: (metadata.dev(), metadata.ino()),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests;
