//! Tests of the loader as a whole.

mod accepted;
mod files;
mod mangled;
mod misrouted;
mod pictures;
mod reference;
mod refused;
mod routing;

use std::path::PathBuf;

use super::{Diagnostics, Loaded, load_from};

/// A `muster.toml` with one source of each kind.
const SERVER: &str = "[consul.vms]\n[kubernetes.eks]\n";

/// Loads a `muster.toml` and one zone file.
fn load_texts(server: &str, zone: &str) -> Result<Loaded, Diagnostics> {
    load_from(&[("muster.toml".into(), server.to_owned()), ("zones/shop.toml".into(), zone.to_owned())])
}

/// Loads a zone file with [`SERVER`].
fn load_zone(zone: &str) -> Result<Loaded, Diagnostics> {
    load_texts(SERVER, zone)
}

/// Loads a member of the service `web` in the namespace `shop`.
fn load_member(member: &str) -> Result<Loaded, Diagnostics> {
    load_zone(&format!("namespace = \"shop\"\n[services.web]\nfrom = [{member}]\n"))
}

/// Loads a `muster.toml` without zone files.
fn load_server(server: &str) -> Result<Loaded, Diagnostics> {
    load_from(&[(PathBuf::from("muster.toml"), server.to_owned())])
}

/// The diagnostics, one a line.
fn errors(result: Result<Loaded, Diagnostics>) -> String {
    let report = result.expect_err("it must be refused");
    report.diagnostics().iter().map(|one| format!("{one}\n")).collect()
}
