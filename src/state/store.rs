//! The store: one redb file.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition,
};
use tracing::warn;

/// The file's name in the configured folder.
const FILE: &str = "last-known-good.redb";

/// The version of the tables and records below. A file of another version is not read.
const VERSION: u64 = 1;

/// Memory for pages of the file.
const CACHE_SIZE: usize = 4 << 20;

/// Numbers about the store: [`VERSION_KEY`], [`ALIVE_KEY`].
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const MEMBERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("members");
const IMPORTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("imports");
/// Since when members and imports are stale, in milliseconds since 1970. What is not in these
/// tables was current at [`ALIVE_KEY`].
const STALE_MEMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("stale_members");
const STALE_IMPORTS: TableDefinition<'_, &str, u64> = TableDefinition::new("stale_imports");

const VERSION_KEY: &str = "version";
/// When the last write was, in milliseconds since 1970.
const ALIVE_KEY: &str = "alive";

/// An open store.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

/// Everything in a store.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// When the last write was, in milliseconds since 1970.
    pub(super) alive: u64,
    pub(super) members: Vec<(String, Vec<u8>)>,
    pub(super) imports: Vec<(String, Vec<u8>)>,
    pub(super) stale_members: Vec<(String, u64)>,
    pub(super) stale_imports: Vec<(String, u64)>,
}

/// Changes by key; `None` removes a record.
type Changes<T> = std::collections::BTreeMap<String, Option<T>>;

/// The writes of one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whether all members and imports are removed first.
    pub(super) clear: bool,
    pub(super) members: Changes<Vec<u8>>,
    pub(super) imports: Changes<Vec<u8>>,
    pub(super) stale_members: Changes<u64>,
    pub(super) stale_imports: Changes<u64>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        !self.clear
            && self.members.is_empty()
            && self.imports.is_empty()
            && self.stale_members.is_empty()
            && self.stale_imports.is_empty()
    }
}

/// Why a store cannot be used.
#[derive(Debug)]
enum OpenFailure {
    /// The file is torn, of another version or not a store at all.
    Bad(String),
    /// The file may be good, but the system does not let muster use it now.
    Unavailable(String),
}

impl Store {
    /// Opens the store in `folder`, which is created if it is missing, and reads all of it.
    ///
    /// A bad file is renamed to `.bad` with a warning, and an empty store takes its place.
    ///
    /// # Errors
    /// A message if the folder or the file cannot be used now, for example because another process
    /// has it open.
    pub(super) fn open(folder: &Path) -> Result<(Self, Stored), String> {
        let path = folder.join(FILE);
        fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let unavailable = |reason| format!("cannot use {}: {reason}", path.display());
        match open_guarded(&path) {
            Ok(opened) => Ok(opened),
            Err(OpenFailure::Unavailable(reason)) => Err(unavailable(reason)),
            Err(OpenFailure::Bad(reason)) => {
                let aside = bad_path(&path);
                warn!(
                    path = %path.display(), kept_as = %aside.display(),
                    "the stored state cannot be used, starting without it: {reason}",
                );
                fs::rename(&path, &aside).map_err(|error| unavailable(error.to_string()))?;
                open_guarded(&path).map_err(|failure| match failure {
                    OpenFailure::Bad(reason) | OpenFailure::Unavailable(reason) => unavailable(reason),
                })
            }
        }
    }

    /// Writes a batch, and that the store was alive at this time; returns when it is on disk.
    ///
    /// # Errors
    /// A message; then the store must be opened again.
    pub(super) fn write(&self, batch: &Batch, now: u64) -> Result<(), String> {
        guard(|| self.try_write(batch, now).map_err(|error| error.to_string())).unwrap_or_else(Err)
    }

    fn try_write(&self, batch: &Batch, now: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut members = transaction.open_table(MEMBERS)?;
            let mut imports = transaction.open_table(IMPORTS)?;
            if batch.clear {
                members.retain(|_, _| false)?;
                imports.retain(|_, _| false)?;
            }
            for (table, changes) in [(&mut members, &batch.members), (&mut imports, &batch.imports)] {
                for (key, value) in changes {
                    match value {
                        Some(value) => table.insert(key.as_str(), value.as_slice())?,
                        None => table.remove(key.as_str())?,
                    };
                }
            }
            let mut stale_members = transaction.open_table(STALE_MEMBERS)?;
            let mut stale_imports = transaction.open_table(STALE_IMPORTS)?;
            let stale =
                [(&mut stale_members, &batch.stale_members), (&mut stale_imports, &batch.stale_imports)];
            for (table, changes) in stale {
                for (key, value) in changes {
                    match value {
                        Some(value) => table.insert(key.as_str(), value)?,
                        None => table.remove(key.as_str())?,
                    };
                }
            }
            transaction.open_table(META)?.insert(ALIVE_KEY, now)?;
        }
        Ok(transaction.commit()?)
    }

    fn load(&self) -> Result<Stored, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut stored = Stored::default();
        {
            if let Some(alive) = transaction.open_table(META)?.get(ALIVE_KEY)? {
                stored.alive = alive.value();
            }
            for (definition, records) in [(MEMBERS, &mut stored.members), (IMPORTS, &mut stored.imports)] {
                for entry in transaction.open_table(definition)?.iter()? {
                    let (key, value) = entry?;
                    records.push((key.value().to_owned(), value.value().to_owned()));
                }
            }
            let stale =
                [(STALE_MEMBERS, &mut stored.stale_members), (STALE_IMPORTS, &mut stored.stale_imports)];
            for (definition, records) in stale {
                for entry in transaction.open_table(definition)?.iter()? {
                    let (key, value) = entry?;
                    records.push((key.value().to_owned(), value.value()));
                }
            }
        }
        transaction.commit()?;
        Ok(stored)
    }
}

fn open_guarded(path: &Path) -> Result<(Store, Stored), OpenFailure> {
    guard(|| open(path)).unwrap_or_else(|panic| Err(OpenFailure::Bad(panic)))
}

fn open(path: &Path) -> Result<(Store, Stored), OpenFailure> {
    let is_new = !path.metadata().is_ok_and(|metadata| metadata.len() > 0);
    let mut builder = Builder::new();
    // Reads and verifies everything, since it is read in any case.
    builder.set_check_integrity_on_open(!is_new).set_cache_size(CACHE_SIZE);
    let store = Store { database: builder.create(path).map_err(open_failure)? };
    let bad = |error: redb::Error| OpenFailure::Bad(error.to_string());
    let version = if is_new {
        store.set_version().map_err(bad)?;
        VERSION
    } else {
        store.version().map_err(bad)?
    };
    if version != VERSION {
        return Err(OpenFailure::Bad(format!("it has version {version}, this muster reads {VERSION}")));
    }
    let stored = store.load().map_err(bad)?;
    Ok((store, stored))
}

impl Store {
    fn set_version(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(VERSION_KEY, VERSION)?;
        Ok(transaction.commit()?)
    }

    /// The version; 0 if the file was created but never written.
    fn version(&self) -> Result<u64, redb::Error> {
        let transaction = self.database.begin_read()?;
        let version = transaction.open_table(META)?.get(VERSION_KEY)?.map(|version| version.value());
        Ok(version.unwrap_or_default())
    }
}

fn open_failure(error: DatabaseError) -> OpenFailure {
    let message = error.to_string();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenFailure::Unavailable(format!("another process has it open: {message}"))
        }
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                OpenFailure::Bad(message)
            }
            _ => OpenFailure::Unavailable(message),
        },
        _ => OpenFailure::Bad(message),
    }
}

fn bad_path(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".bad");
    aside.into()
}

/// Runs `work`; a panic within the database is an error like any other.
fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "it is damaged: the database panicked".to_owned())
}
