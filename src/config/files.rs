//! The files of a configuration, and their texts.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    string::FromUtf8Error,
    sync::Arc,
};

use super::{
    read::ZonePaths,
    toml::{Cause, DiagnosticSink, Scope, Span, TextFile, values::PathBase},
};

/// The folder of zone files if `zones` is left out.
const DEFAULT_ZONES: &str = "zones";

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// The files and folders where the zone files are.
pub(super) fn zone_paths(zones: &ZonePaths<'_>, base: &PathBase) -> Vec<PathBuf> {
    match zones {
        ZonePaths::Default => vec![base.folder.join(DEFAULT_ZONES)],
        ZonePaths::Given(given) => given.iter().map(|(path, _)| path.clone()).collect(),
    }
}

/// Reads the zone files, those of a folder in the order of their names.
pub(super) fn zone_files(zones: ZonePaths<'_>, base: &PathBase, scope: Scope<'_>) -> Vec<Arc<TextFile>> {
    let mut paths: Vec<(PathBuf, Span)> = Vec::new();
    let (wanted, is_given) = match zones {
        ZonePaths::Default => (vec![(base.folder.join(DEFAULT_ZONES), Span::default())], false),
        ZonePaths::Given(given) => (given.into_iter().map(|(path, item)| (path, item.span)).collect(), true),
    };
    for (path, span) in wanted {
        match files_of(&path) {
            Ok(files) => paths.extend(files.into_iter().map(|file| (file, span))),
            Err(error) if is_given || error.kind() != io::ErrorKind::NotFound => {
                scope
                    .error(span, format!("cannot read {:?}: {error}", path.display().to_string()))
                    .help("\"zones\" takes zone files and folders of them, relative to muster.toml")
                    .report();
            }
            Err(_) => {}
        }
    }
    if paths.is_empty() {
        scope
            .warning(Span::default(), "no zone files, so every name is REFUSED")
            .help("put a namespace into zones/NAME.toml next to muster.toml, or set \"zones\" to its path")
            .cause(Cause::Missing)
            .report();
    }
    let mut files: Vec<Arc<TextFile>> = Vec::new();
    for (path, span) in paths {
        if files.iter().all(|file| file.path != path) {
            files.push(read(&path, files.len() + 1, scope.sink, Some((scope, span))));
        }
    }
    files
}

/// The path itself if it is a file; for a folder, its `*.toml` files except hidden ones, sorted.
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

/// Reads a file. On failure reports an error at `named`, the place that names the file, or else in
/// the file itself, and returns an empty file.
pub(super) fn read(
    path: &Path,
    order: usize,
    sink: &DiagnosticSink,
    named: Option<(Scope<'_>, Span)>,
) -> Arc<TextFile> {
    match read_limited(path, MAX_FILE).map(String::from_utf8) {
        Err(error) => unreadable(path.to_owned(), order, &error.to_string(), named, sink),
        Ok(Ok(text)) => TextFile::new(path.to_owned(), text, order),
        Ok(Err(error)) => not_utf8(path, order, &error, sink),
    }
}

/// Reads a file that the configuration names, of at most `limit` bytes.
///
/// # Errors
/// Those of the system, and [`io::ErrorKind::FileTooLarge`] for a longer file.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if length as u64 > limit {
        let (size, unit) = if limit < 1 << 20 { (limit >> 10, "KiB") } else { (limit >> 20, "MiB") };
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {size} {unit}")));
    }
    Ok(bytes)
}

/// Reports that a file cannot be read, and returns an empty one.
pub(super) fn unreadable(
    path: PathBuf,
    order: usize,
    why: &str,
    named: Option<(Scope<'_>, Span)>,
    sink: &DiagnosticSink,
) -> Arc<TextFile> {
    let message = format!("cannot read {:?}: {why}", path.display().to_string());
    let file = TextFile::new(path, String::new(), order);
    let (scope, span) = named.unwrap_or((Scope { file: &file, sink }, Span::default()));
    scope.error(span, message).report();
    sink.mark_broken(&file);
    file
}

/// Reports the first byte that is not UTF-8, and returns an empty file.
fn not_utf8(path: &Path, order: usize, error: &FromUtf8Error, sink: &DiagnosticSink) -> Arc<TextFile> {
    let at = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let shown = TextFile::new(path.to_owned(), text, order);
    Scope { file: &shown, sink }
        .error(Span { start: at, end: at + 1 }, "not TOML: the file must be UTF-8")
        .label("not UTF-8 from here on")
        .cause(Cause::Syntax)
        .report();
    TextFile::new(path.to_owned(), String::new(), order)
}
