//! Finds the configuration, and makes one of all of its files.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use super::{
    files,
    read::{self, ZoneFile, ZonePaths},
    schema::{Config, Listen, Namespace},
    toml::{Cause, DiagnosticSink, Diagnostics, Item, Scope, Span, TableReader, TextFile, values::PathBase},
};
use crate::model::Name;

/// The paths where `muster.toml` is looked for, in this order.
const DEFAULT_PATHS: [&str; 2] = ["muster.toml", "/etc/muster/muster.toml"];

/// Most syntax errors that are shown of one file; a file with more is hardly TOML.
const MAX_SYNTAX_ERRORS: usize = 20;

/// The `muster.toml` of the bundled demo, and its only zone file.
const DEMO_SERVER: &str = "[listen]\ndns = [\"127.0.0.1:5300\"]\nadmin = \"127.0.0.1:5380\"\n";
const DEMO_ZONE: &str = include_str!("../../zones/demo.toml");

/// A configuration that is accepted.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
    /// The files that were read, `muster.toml` first; empty for the bundled demo.
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
    /// Loads the configuration.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        match self {
            Self::File(path) => load(path),
            Self::Demo => demo(),
        }
    }

    /// Loads the addresses to listen on. Reads no zone file, so a mistake in one does not matter.
    ///
    /// # Errors
    /// Every error in `muster.toml`.
    pub fn load_listen(&self) -> Result<Listen, Diagnostics> {
        let loaded = match self {
            Self::File(path) => load_with(path, |_, _| Vec::new()),
            Self::Demo => demo(),
        };
        loaded.map(|loaded| loaded.config.listen)
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

/// Finds the configuration: the given file, else `./muster.toml`, else `/etc/muster/muster.toml`,
/// else the demo.
///
/// A given file need not exist; [`load`] reports it.
pub fn find(given: Option<&Path>) -> Location {
    find_among(given, &DEFAULT_PATHS.map(Path::new))
}

/// As [`find`], with these default paths.
pub(super) fn find_among(given: Option<&Path>, paths: &[&Path]) -> Location {
    // A file that exists but cannot be read is an error to report, so it is not skipped.
    let found = given.or_else(|| paths.iter().copied().find(|path| path.symlink_metadata().is_ok()));
    found.map_or(Location::Demo, |path| Location::File(path.to_owned()))
}

/// Loads `muster.toml` at `path` and the zone files that it names.
///
/// # Errors
/// Every error in any of the files, with the warnings. Warnings alone refuse nothing.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let base = base_of(path);
    load_with(path, |zones, scope| files::zone_files(zones, &base, scope))
}

fn load_with(
    path: &Path,
    zone_files: impl FnOnce(ZonePaths<'_>, Scope<'_>) -> Vec<Arc<TextFile>>,
) -> Result<Loaded, Diagnostics> {
    let sink = DiagnosticSink::default();
    let main = files::read(path, 0, &sink, None);
    let read = assemble(&sink, main, &base_of(path), zone_files);
    conclude(sink, read)
}

fn base_of(path: &Path) -> PathBase {
    PathBase { folder: folder_of(path), home: home() }
}

/// As [`load`], from texts: the first is `muster.toml`, the others are its zone files, whatever its
/// `zones` says.
///
/// # Errors
/// As [`load`]; without any text, that there is none.
pub fn load_from(files: &[(PathBuf, String)]) -> Result<Loaded, Diagnostics> {
    let sink = DiagnosticSink::default();
    let read = read_texts(files, home(), &sink);
    conclude(sink, read)
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
    sink: &DiagnosticSink,
) -> (Config, Vec<PathBuf>) {
    let mut sources = files
        .iter()
        .enumerate()
        .map(|(order, (path, text))| TextFile::new(path.clone(), text.clone(), order));
    let main = sources.next().unwrap_or_else(|| files::unreadable(PathBuf::new(), 0, "no file", None, sink));
    let base = PathBase { folder: folder_of(&main.path), home };
    assemble(sink, main, &base, |_, _| sources.collect())
}

/// Loads the bundled demo: one namespace with two static instances, DNS on 127.0.0.1:5300, admin on
/// 127.0.0.1:5380.
///
/// # Errors
/// None; a test loads the demo.
pub fn demo() -> Result<Loaded, Diagnostics> {
    let files = [("demo.toml", DEMO_SERVER), ("zones/demo.toml", DEMO_ZONE)];
    let mut loaded = load_from(&files.map(|(path, text)| (path.into(), text.to_owned())))?;
    loaded.config.path = None;
    loaded.files.clear();
    Ok(loaded)
}

/// The configuration, unless an error was reported.
fn conclude(sink: DiagnosticSink, (config, files): (Config, Vec<PathBuf>)) -> Result<Loaded, Diagnostics> {
    let diagnostics = sink.into_diagnostics();
    if diagnostics.errors() > 0 {
        return Err(diagnostics);
    }
    Ok(Loaded { config, warnings: diagnostics, files })
}

/// Reads all files and puts their parts together, as far as they could be read; returns the files'
/// paths too.
fn assemble(
    sink: &DiagnosticSink,
    main: Arc<TextFile>,
    base: &PathBase,
    zone_files: impl FnOnce(ZonePaths<'_>, Scope<'_>) -> Vec<Arc<TextFile>>,
) -> (Config, Vec<PathBuf>) {
    let scope = Scope { file: &main, sink };
    let document = parse(scope);
    let server = read::server(TableReader::root("muster.toml", &document, scope), base);
    let zones = files::zone_paths(&server.zones, base);
    let files = zone_files(server.zones, scope);
    let documents: Vec<_> = files.iter().map(|file| (file, parse(Scope { file, sink }))).collect();
    let read = documents.iter().filter_map(|(file, document)| {
        let table = TableReader::root("a zone file", document, Scope { file, sink });
        read::zone(table, &server.sources, base).ok()
    });
    let mut read: Vec<_> = read.collect();
    // A file that could not be read may define what the others refer to.
    if read.len() == files.len() && files.iter().all(|file| sink.check_unbroken(file).is_ok()) {
        read::resolve(&mut read, sink);
    }
    let namespaces = unique(read);
    warn_of_hidden_services(&namespaces);
    let mut namespaces: Vec<_> = namespaces.into_iter().map(|(namespace, _)| namespace).collect();
    namespaces.sort_by_cached_key(|namespace| namespace.apex.to_string());
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
        forward: server.forward.into_iter().map(|(rule, _)| rule).collect(),
        cache: server.cache,
        localities: server.localities,
        reverse: server.reverse,
        namespaces,
    };
    let paths = std::iter::once(&main).chain(&files).map(|file| file.path.clone()).collect();
    (config, paths)
}

/// Parses a file as far as possible, and reports its syntax errors.
fn parse<'a>(scope: Scope<'a>) -> DeTable<'a> {
    let (document, errors) = DeTable::parse_recoverable(&scope.file.text);
    for error in errors.into_iter().take(MAX_SYNTAX_ERRORS) {
        let span = error.span().map(Span::from).unwrap_or_default();
        scope.error(span, format!("not TOML: {}", error.message())).cause(Cause::Syntax).report();
    }
    document.into_inner()
}

/// Refuses a second namespace of one name; returns the others with the places of their names.
fn unique(read: Vec<ZoneFile<'_>>) -> Vec<(Namespace, Item<'_>)> {
    let mut seen: HashMap<Name, Item<'_>> = HashMap::new();
    let mut namespaces = Vec::new();
    for ZoneFile { namespace, named: item, .. } in read {
        if let Some(first) = seen.get(&namespace.apex) {
            item.error(format!("duplicate namespace {:?}", namespace.apex.to_string()))
                .also(first.place(), "first defined here")
                .help("one namespace is one file: put all of its services into one")
                .report();
            continue;
        }
        seen.insert(namespace.apex.clone(), item);
        namespaces.push((namespace, item));
    }
    namespaces
}

/// Warns of namespaces that have the name of another namespace's service.
fn warn_of_hidden_services(namespaces: &[(Namespace, Item<'_>)]) {
    for (namespace, item) in namespaces {
        let is_hidden = |name: &Name| *name == namespace.apex;
        let hides = |(other, _): &&(Namespace, Item<'_>)| {
            other.services.iter().any(|service| {
                is_hidden(&service.name) || service.names.iter().any(|subset| is_hidden(&subset.name))
            })
        };
        if let Some((other, _)) = namespaces.iter().find(hides) {
            let apex = namespace.apex.to_string();
            item.scope
                .warning(item.span, format!("the namespace {apex:?} hides the service of that name"))
                .label(format!("the service is in the namespace {:?}", other.apex.to_string()))
                .help("the longer namespace answers: move the service, or rename the namespace")
                .report();
        }
    }
}
