//! Which files are read, and their texts.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    read::ZonePaths,
    toml::{Cause, DiagnosticSink, PathBase, Scope, SourceFile, Span},
};

/// The folder of zone files where nothing is said.
const ZONES: &str = "zones";

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// The files and folders that zone files are looked for in.
pub(super) fn zone_paths(zones: &ZonePaths<'_>, base: &PathBase) -> Vec<PathBuf> {
    match zones {
        ZonePaths::Default => vec![base.folder.join(ZONES)],
        ZonePaths::Given(given) => given.iter().map(|(path, _)| path.clone()).collect(),
    }
}

/// Reads the zone files, those of a folder in the order of their names.
pub(super) fn zone_files(zones: ZonePaths<'_>, base: &PathBase, scope: Scope<'_>) -> Vec<Arc<SourceFile>> {
    let mut paths: Vec<(PathBuf, Span)> = Vec::new();
    let (wanted, is_given) = match zones {
        ZonePaths::Default => (vec![(base.folder.join(ZONES), Span::default())], false),
        ZonePaths::Given(given) => (given.into_iter().map(|(path, item)| (path, item.span)).collect(), true),
    };
    for (path, span) in wanted {
        match files_of(&path) {
            Ok(files) => paths.extend(files.into_iter().map(|file| (file, span))),
            Err(error) if is_given || error.kind() != io::ErrorKind::NotFound => {
                scope
                    .error(span, format!("cannot read {:?}: {error}", path.display().to_string()))
                    .help("\"zones\" names a folder of zone files, or one such file, relative to muster.toml")
                    .report();
            }
            Err(_) => {}
        }
    }
    if paths.is_empty() {
        scope
            .warning(Span::default(), "there is no zone file, so every name is REFUSED")
            .help("put a namespace into zones/NAME.toml beside muster.toml, or name its place with \"zones\"")
            .cause(Cause::Missing)
            .report();
    }
    let mut files: Vec<Arc<SourceFile>> = Vec::new();
    for (path, span) in paths {
        if files.iter().all(|file| file.path != path) {
            files.push(read(&path, files.len() + 1, scope.log, Some((scope, span))));
        }
    }
    files
}

/// The path itself if it is a file; of a folder its `*.toml`, without those that begin with a dot.
pub(super) fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir()? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "toml") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file; where that fails, gives an empty one and says so, at the place that names it or in the file itself.
pub(super) fn read(
    path: &Path,
    order: usize,
    log: &DiagnosticSink,
    named: Option<(Scope<'_>, Span)>,
) -> Arc<SourceFile> {
    let mut bytes = Vec::new();
    let result = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let refuse = |why: &str| read_error(path.to_owned(), order, why, named, log);
    match result {
        Err(error) => refuse(&error.to_string()),
        Ok(length) if length as u64 > MAX_FILE => refuse("it is longer than 64 MiB"),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => SourceFile::new(path.to_owned(), text, order),
            Err(error) => not_utf8(path, order, &error, log),
        },
    }
}

pub(super) fn read_error(
    path: PathBuf,
    order: usize,
    why: &str,
    named: Option<(Scope<'_>, Span)>,
    log: &DiagnosticSink,
) -> Arc<SourceFile> {
    let message = format!("cannot read {:?}: {why}", path.display().to_string());
    let file = SourceFile::new(path, String::new(), order);
    let (scope, span) = named.unwrap_or((Scope { file: &file, log }, Span::default()));
    scope.error(span, message).report();
    log.mark_broken(&file);
    file
}

/// Shows the first byte that is not UTF-8, and gives a file with nothing in it to be read.
fn not_utf8(
    path: &Path,
    order: usize,
    error: &std::string::FromUtf8Error,
    log: &DiagnosticSink,
) -> Arc<SourceFile> {
    let at = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let shown = SourceFile::new(path.to_owned(), text, order);
    Scope { file: &shown, log }
        .error(Span { start: at, end: at + 1 }, "not TOML: the file must be UTF-8")
        .label("not UTF-8 from here on")
        .cause(Cause::Syntax)
        .report();
    SourceFile::new(path.to_owned(), String::new(), order)
}
