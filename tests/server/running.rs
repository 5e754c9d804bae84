//! A server that runs for a test, and is stopped with it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use muster::{app::Server, config};

/// Long enough for a busy machine; nothing waits for it unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Running {
    server: Option<Server>,
    pub runtime: tokio::runtime::Runtime,
}

impl Running {
    /// Starts with these lines in `muster.toml` and this zone file; returns when every service has been heard.
    pub fn of(server: &str, zone: &str) -> Self {
        let files = [
            (PathBuf::from("muster.toml"), server.to_owned()),
            (PathBuf::from("zones/zone.toml"), zone.to_owned()),
        ];
        let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(&loaded.config)).unwrap();
        let running = Self { server: Some(server), runtime };
        wait_for("every service is complete", || {
            let snapshot = running.server().cell().load();
            snapshot.view().services().iter().all(|service| service.complete)
        });
        running
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}
