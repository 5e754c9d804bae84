//! How the parts of all files become one configuration.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use super::{
    files::{self, read_error},
    read::{self, ZoneFile, ZonePaths},
    schema::{Config, Namespace},
    toml::{Cause, DiagnosticSink, Diagnostics, Item, PathBase, Scope, SourceFile, Span, TableReader},
};
use crate::model::Name;

/// Where `muster.toml` is looked for, in this order.
const PLACES: [&str; 2] = ["muster.toml", "/etc/muster/muster.toml"];

/// Syntax errors shown of one file: behind so many there is no TOML.
const MAX_SYNTAX_ERRORS: usize = 20;

/// The server's part of the bundled demo; its namespace is the file of that name.
const DEMO_SERVER: &str = "[listen]\ndns = [\"127.0.0.1:5300\"]\nadmin = \"127.0.0.1:5380\"\n";

const DEMO_ZONE: &str = include_str!("../../zones/demo.toml");

/// A configuration, and what else there is to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What to run with.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
    /// The files that were read, `muster.toml` first; none for the bundled demo.
    pub files: Vec<PathBuf>,
}

/// Where the configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In this file.
    File(PathBuf),
    /// In the program: the bundled demo.
    Demo,
}

impl Location {
    /// Loads what is there.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        match self {
            Self::File(path) => load(path),
            Self::Demo => demo(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Demo => f.pad("the bundled demo"),
        }
    }
}

/// Finds the configuration: the given file, else `./muster.toml`, else `/etc/muster/muster.toml`, else the demo.
///
/// A given file need not exist: [`load`] then says so.
pub fn find(given: Option<&Path>) -> Location {
    find_among(given, &PLACES.map(Path::new))
}

/// As [`find`], among other places.
pub(super) fn find_among(given: Option<&Path>, places: &[&Path]) -> Location {
    // A file that is there but cannot be read is an error to show, not one to pass over.
    let found = given.or_else(|| places.iter().copied().find(|path| path.symlink_metadata().is_ok()));
    found.map_or(Location::Demo, |path| Location::File(path.to_owned()))
}

/// Loads `muster.toml` at `path` and the zone files that it names.
///
/// # Errors
/// Everything that is wrong in any of the files, warnings too. Warnings alone refuse nothing.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let base = PathBase { folder: folder_of(path), home: home() };
    let log = DiagnosticSink::default();
    let main = files::read(path, 0, &log, None);
    let read = assemble(&log, main, &base, |zones, scope| files::zone_files(zones, &base, scope));
    conclude(log, read)
}

/// As [`load`], from texts: the first is `muster.toml`, the others are its zone files, whatever its `zones` says.
///
/// # Errors
/// As [`load`]; without any text, that there is none.
pub fn load_from(files: &[(PathBuf, String)]) -> Result<Loaded, Diagnostics> {
    let log = DiagnosticSink::default();
    let read = read_texts(files, home(), &log);
    conclude(log, read)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// Reads the texts of [`load_from`].
pub(super) fn read_texts(
    files: &[(PathBuf, String)],
    home: Option<PathBuf>,
    log: &DiagnosticSink,
) -> (Config, Vec<PathBuf>) {
    let mut sources = files
        .iter()
        .enumerate()
        .map(|(order, (path, text))| SourceFile::new(path.clone(), text.clone(), order));
    let main = sources.next().unwrap_or_else(|| read_error(PathBuf::new(), 0, "there is no file", None, log));
    let base = PathBase { folder: folder_of(&main.path), home };
    assemble(log, main, &base, |_, _| sources.collect())
}

/// Loads the bundled demo: one namespace with two static instances, DNS on 127.0.0.1:5300, admin on 127.0.0.1:5380.
///
/// # Errors
/// None that a test would not have found.
pub fn demo() -> Result<Loaded, Diagnostics> {
    let files = [("demo.toml", DEMO_SERVER), ("zones/demo.toml", DEMO_ZONE)];
    let mut loaded = load_from(&files.map(|(path, text)| (path.into(), text.to_owned())))?;
    loaded.config.path = None;
    loaded.files.clear();
    Ok(loaded)
}

/// Gives what was read, unless the log has an error.
fn conclude(log: DiagnosticSink, (config, files): (Config, Vec<PathBuf>)) -> Result<Loaded, Diagnostics> {
    let report = log.into_report();
    if report.errors() > 0 {
        return Err(report);
    }
    Ok(Loaded { config, warnings: report, files })
}

/// Reads all files and puts their parts together, as far as they could be read; gives their paths too.
fn assemble(
    log: &DiagnosticSink,
    main: Arc<SourceFile>,
    base: &PathBase,
    zone_files: impl FnOnce(ZonePaths<'_>, Scope<'_>) -> Vec<Arc<SourceFile>>,
) -> (Config, Vec<PathBuf>) {
    let scope = Scope { file: &main, log };
    let document = parse(scope);
    let mut server = read::server(TableReader::root("muster.toml", &document, scope), base);
    server.sources.incomplete = log.is_broken(&main);
    let zones = files::zone_paths(&server.zones, base);
    let files = zone_files(server.zones, scope);
    let documents: Vec<_> = files.iter().map(|file| (file, parse(Scope { file, log }))).collect();
    let read = documents.iter().filter_map(|(file, document)| {
        read::zone(TableReader::root("a zone file", document, Scope { file, log }), &server.sources)
    });
    let mut read: Vec<_> = read.collect();
    // What could not be read may have what the others name.
    if read.len() == files.len() && files.iter().all(|file| !log.is_broken(file)) {
        read::resolve(&mut read, log);
    }
    let namespaces = unique(read);
    read::warn_of_own(&server.forward, &namespaces, &server.reverse);
    let config = Config {
        path: Some(main.path.clone()),
        zones,
        watch_files: server.watch_files,
        listen: server.listen,
        access: server.access,
        state: server.state,
        max_stale: server.max_stale,
        consul: server.sources.consul,
        kubernetes: server.sources.kubernetes,
        forward: server.forward.into_iter().map(|(forward, _)| forward).collect(),
        cache: server.cache,
        localities: server.localities,
        reverse: server.reverse,
        namespaces,
    };
    let paths = std::iter::once(&main).chain(&files).map(|file| file.path.clone()).collect();
    (config, paths)
}

/// Parses a file as far as it goes; what is wrong with it goes into the log.
fn parse<'a>(scope: Scope<'a>) -> DeTable<'a> {
    let (document, errors) = DeTable::parse_recoverable(&scope.file.text);
    for error in errors.into_iter().take(MAX_SYNTAX_ERRORS) {
        let span = error.span().map(Span::from).unwrap_or_default();
        scope.error(span, format!("not TOML: {}", error.message())).cause(Cause::Syntax).report();
    }
    document.into_inner()
}

/// Refuses a second namespace of one name; the others in the order of their names.
fn unique(read: Vec<ZoneFile<'_>>) -> Vec<Namespace> {
    let mut seen: HashMap<Name, Item<'_>> = HashMap::new();
    let mut namespaces = Vec::new();
    for ZoneFile { namespace, named: item, .. } in read {
        if let Some(first) = seen.get(&namespace.apex) {
            item.error(format!("the namespace {:?} is there twice", namespace.apex.to_string()))
                .also(first.place(), "first here")
                .help("one namespace is one file: put all of its services there")
                .report();
            continue;
        }
        seen.insert(namespace.apex.clone(), item);
        namespaces.push(namespace);
    }
    for namespace in &namespaces {
        let hidden = |other: &&Namespace| {
            other.services.iter().any(|service| {
                service.name == namespace.apex || service.names.iter().any(|name| name.name == namespace.apex)
            })
        };
        if let (Some(other), Some(item)) = (namespaces.iter().find(hidden), seen.get(&namespace.apex)) {
            let apex = namespace.apex.to_string();
            item.scope
                .warning(item.span, format!("the namespace {apex:?} hides a service of that name"))
                .label(format!("which is in the namespace {:?}", other.apex.to_string()))
                .help("of two namespaces the longer one answers: move the service, or rename the namespace")
                .report();
        }
    }
    namespaces.sort_by_cached_key(|namespace| namespace.apex.to_string());
    namespaces
}
