//! A whole server in this process, which is stopped when its test ends.

use std::{net::SocketAddr, path::PathBuf};

use muster::{app::Server, config};

use crate::wait::wait_for;

/// A server on loopback and the runtime that it runs on.
pub struct Running {
    server: Option<Server>,
    /// The runtime; it has one thread.
    pub runtime: tokio::runtime::Runtime,
}

impl Running {
    /// Starts with this `muster.toml` and this zone file; returns when every service is synced.
    pub fn of(server: &str, zone: &str) -> Self {
        Self::with_files(&[
            (PathBuf::from("muster.toml"), server.to_owned()),
            (PathBuf::from("zones/zone.toml"), zone.to_owned()),
        ])
    }

    /// Starts with these files, `muster.toml` first.
    pub fn with_files(files: &[(PathBuf, String)]) -> Self {
        let loaded = config::load_from(files).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(&loaded.config)).unwrap();
        let running = Self { server: Some(server), runtime };
        wait_for("every service is synced", || {
            let snapshot = running.server().cell().load();
            snapshot.view().services().iter().all(|service| service.all_synced)
        });
        running
    }

    /// Starts with these lines in `[listen]`, and tables after them.
    pub fn start(listen: &str, zone: &str) -> Self {
        Self::of(&format!("[listen]\n{listen}\n"), zone)
    }

    /// Starts on 127.0.0.1, with an admin port.
    pub fn loopback(zone: &str) -> Self {
        Self::start("dns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"", zone)
    }

    /// The server.
    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The first address that it answers on.
    pub fn dns(&self) -> SocketAddr {
        self.server().dns()[0]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}
