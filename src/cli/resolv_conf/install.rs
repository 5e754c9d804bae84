//! Putting a resolv.conf in place, and the old one back.
//!
//! The file is replaced by a rename, so that whoever reads it sees the old one or the new one whole. The old one, be it a file
//! or a symbolic link, stays beside it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// First line of a file that is ours.
const MARK: &str =
    "# Written by `muster resolv-conf --install`; `muster resolv-conf --uninstall` puts the old one back.";

/// Lines that hold whoever the name servers are.
const KEPT: [&str; 4] = ["search", "domain", "options", "sortlist"];

/// Writes a resolv.conf with these name servers; returns what was done, for people.
///
/// # Errors
/// When the file belongs to another program (unless by force), or cannot be written. Then nothing was changed.
pub(super) fn install(
    path: &Path,
    servers: &[IpAddr],
    drop_old: bool,
    force: bool,
) -> anyhow::Result<String> {
    if !force {
        refuse_managed(path)?;
    }
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        // A link to nowhere is as good as no file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut text = format!("{MARK}\n");
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for line in kept(&old).filter(|_| !drop_old) {
        let _ = writeln!(text, "{line}");
    }
    let backup = backup_of(path);
    let mut said = String::new();
    if is_ours(&old) {
        let _ = writeln!(said, "{} was muster's already", path.display());
    } else if path.symlink_metadata().is_ok() {
        back_up(path, &backup)
            .with_context(|| format!("cannot keep the old file as {}", backup.display()))?;
        let _ = writeln!(said, "the old {} is {}", path.display(), backup.display());
    }
    replace(path, &text)?;
    let _ = writeln!(said, "{}:\n{}", path.display(), text.trim_end());
    Ok(said)
}

/// Puts the file back that was there before [`install`]; returns what was done, for people.
///
/// # Errors
/// When the file is not ours (unless by force), when there is no old one, or when it cannot be put back.
pub(super) fn uninstall(path: &Path, force: bool) -> anyhow::Result<String> {
    let backup = backup_of(path);
    if backup.symlink_metadata().is_err() {
        bail!("there is no {}: nothing was changed", backup.display());
    }
    let is_ours = fs::read_to_string(path).is_ok_and(|text| is_ours(&text));
    if !is_ours && !force {
        bail!(
            "{} was not written by muster: nothing was changed; --force replaces it with {}",
            path.display(),
            backup.display()
        );
    }
    fs::rename(&backup, path).with_context(|| cannot_replace(path))?;
    Ok(format!("{} is the one that was there before\n", path.display()))
}

/// Refuses a link: what it points to is written by another program, which would be surprised, or write again.
fn refuse_managed(path: &Path) -> anyhow::Result<()> {
    let Ok(target) = fs::read_link(path) else { return Ok(()) };
    let shown = target.display().to_string();
    let advice = if shown.contains("systemd") {
        "muster resolv-conf --for systemd-resolved"
    } else if shown.contains("NetworkManager") {
        "muster resolv-conf --for networkmanager"
    } else {
        "tell the program that writes it"
    };
    bail!(
        "nothing was changed: {} is a link to {shown}, which another program manages; {advice}, or say --force to put \
         a file in the link's place",
        path.display()
    )
}

/// The lines of the old file that stay.
fn kept(old: &str) -> impl Iterator<Item = &str> {
    old.lines()
        .map(str::trim)
        .filter(|line| line.split_whitespace().next().is_some_and(|word| KEPT.contains(&word)))
}

fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

/// The old file's place: `resolv.conf.before-muster` beside it.
fn backup_of(path: &Path) -> PathBuf {
    beside(path, "", ".before-muster")
}

fn beside(path: &Path, prefix: &str, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{prefix}{name}{suffix}"))
}

/// Keeps a file or link under another name, without a moment in which it is nowhere.
fn back_up(path: &Path, backup: &Path) -> io::Result<()> {
    let new = beside(backup, ".", ".new");
    let _ = fs::remove_file(&new);
    match fs::read_link(path) {
        Ok(target) => symlink(target, &new)?,
        Err(_) => drop(fs::copy(path, &new)?),
    }
    fs::rename(new, backup)
}

fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = beside(path, ".", ".muster-new");
    let written = write(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| cannot_replace(path))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn cannot_replace(path: &Path) -> String {
    format!(
        "cannot replace {}: it needs root, and in a container, where the runtime mounts that file, tell the runtime \
         (docker run --dns, or dnsConfig of a pod)",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const OLD: &str = "# by hand\nnameserver 10.0.0.2\nsearch corp.example\noptions ndots:2 timeout:1\n";

    fn folder(text: Option<&str>) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        (folder, path)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn put(path: &Path) -> anyhow::Result<String> {
        install(path, &[[127, 0, 0, 1].into()], false, false)
    }

    fn files(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn search_and_options_are_kept_and_the_old_file_comes_back() {
        let (folder, path) = folder(Some(OLD));
        let said = put(&path).unwrap();
        assert!(said.contains("resolv.conf.before-muster"), "{said}");
        let expected =
            format!("{MARK}\nnameserver 127.0.0.1\nsearch corp.example\noptions ndots:2 timeout:1\n");
        assert_eq!(read(&path), expected);
        assert_eq!(files(&folder), ["resolv.conf", "resolv.conf.before-muster"]);
        uninstall(&path, false).unwrap();
        assert_eq!(read(&path), OLD);
        assert_eq!(files(&folder), ["resolv.conf"]);
    }

    #[test]
    fn installing_twice_keeps_the_first_old_file() {
        let (_folder, path) = folder(Some(OLD));
        put(&path).unwrap();
        install(&path, &["::1".parse().unwrap()], false, false).unwrap();
        assert!(read(&path).contains("nameserver ::1\nsearch corp.example\n"));
        uninstall(&path, false).unwrap();
        assert_eq!(read(&path), OLD);
    }

    #[test]
    fn what_another_program_wrote_since_is_what_comes_back() {
        let (_folder, path) = folder(Some(OLD));
        put(&path).unwrap();
        fs::write(&path, "nameserver 10.9.9.9\n").unwrap();
        let error = uninstall(&path, false).unwrap_err().to_string();
        assert!(error.contains("not written by muster") && error.contains("--force"), "{error}");
        put(&path).unwrap();
        uninstall(&path, false).unwrap();
        assert_eq!(read(&path), "nameserver 10.9.9.9\n");
    }

    #[test]
    fn the_old_settings_can_be_dropped() {
        let (_folder, path) = folder(Some(OLD));
        install(&path, &[[127, 0, 0, 1].into()], true, false).unwrap();
        assert_eq!(read(&path), format!("{MARK}\nnameserver 127.0.0.1\n"));
    }

    #[test]
    fn a_link_of_another_program_is_left_alone_unless_forced() {
        let (folder, path) = folder(None);
        let stub = folder.path().join("stub-resolv.conf");
        fs::write(&stub, OLD).unwrap();
        symlink("/run/systemd/resolve/stub-resolv.conf", &path).unwrap();
        let error = put(&path).unwrap_err().to_string();
        assert!(error.contains("--for systemd-resolved") && error.contains("--force"), "{error}");
        fs::remove_file(&path).unwrap();
        symlink("stub-resolv.conf", &path).unwrap();
        assert!(put(&path).unwrap_err().to_string().contains("--force"));
        assert_eq!(read(&path), OLD);

        install(&path, &[[127, 0, 0, 1].into()], false, true).unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert!(read(&path).contains("search corp.example"));
        assert_eq!(read(&stub), OLD, "what the link points to is not touched");
        uninstall(&path, false).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("stub-resolv.conf"));
    }

    #[test]
    fn where_there_was_no_file_there_is_none_to_come_back() {
        let (_folder, path) = folder(None);
        put(&path).unwrap();
        assert_eq!(read(&path), format!("{MARK}\nnameserver 127.0.0.1\n"));
        assert!(uninstall(&path, true).unwrap_err().to_string().contains("nothing was changed"));
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let (folder, path) = folder(Some(OLD));
        // A folder in the place of the new file: a rename onto it fails for root too.
        let path = path.with_file_name("etc");
        fs::create_dir(&path).unwrap();
        assert!(put(&path).is_err());
        assert_eq!(files(&folder), ["etc", "resolv.conf"]);
    }
}
