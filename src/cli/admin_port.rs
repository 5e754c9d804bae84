//! Asking the admin port of a running server.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{Method, StatusCode, Url};

use super::{Configuration, fail, load};
use crate::model::ApiError;

/// How long an answer may take; reading the files and going over to them takes longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Debug, clap::Args)]
pub(super) struct Server {
    #[command(flatten)]
    configuration: Configuration,
    /// The server's admin port, such as 127.0.0.1:5380 or a URL [default: the configuration's]
    #[arg(long, value_name = "ADDRESS")]
    at: Option<String>,
}

impl Server {
    /// Finds its admin port, in what is given or else in the configuration.
    ///
    /// # Errors
    /// The exit code, when the configuration cannot be used or has no admin port; why has been printed.
    pub(super) fn find(&self) -> Result<Url, ExitCode> {
        let url = match &self.at {
            Some(at) => url(at),
            None => admin(load(&self.configuration)?.0.config.listen.admin),
        };
        url.map_err(|error| fail(&error))
    }

    /// Gets a page of the API.
    ///
    /// # Errors
    /// The exit code, when there is no such page: 2 where what was asked for is wrong. Why has been printed.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, ExitCode> {
        let mut url = self.find()?;
        url.set_path(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let (status, text) = send(Method::GET, &url).map_err(|error| fail(&error))?;
        if status.is_success() {
            return Ok(text);
        }
        let said = serde_json::from_str(&text).map(|ApiError { error }| error);
        match (status, said) {
            (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, Ok(error)) => {
                let _ = writeln!(io::stderr(), "muster: {error}");
                Err(ExitCode::from(2))
            }
            (status, said) => {
                let said = said.unwrap_or_else(|_| text.trim().to_owned());
                Err(fail(&anyhow::anyhow!("the admin port answers {status}: {said}")))
            }
        }
    }
}

/// Sends a request, in a runtime of its own; returns the status and the body.
pub(super) fn send(method: Method, url: &Url) -> anyhow::Result<(StatusCode, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The admin port is near, whatever proxy is set for the world outside.
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let request = client.request(method, url.clone()).header("X-Muster", "command");
        let mut base = url.clone();
        base.set_query(None);
        let response = request.send().await.map_err(reqwest::Error::without_url).with_context(|| {
            format!("cannot reach {base}: is muster running, with that admin port? Name another with --at")
        })?;
        let status = response.status();
        Ok((status, response.text().await?))
    })
}

/// Where the server of a configuration listens for it.
fn admin(admin: Option<SocketAddr>) -> anyhow::Result<Url> {
    let mut address = admin.context(
        "the configuration has no admin port: set `admin` in [listen]; to reload you can also send the server SIGHUP",
    )?;
    anyhow::ensure!(
        address.port() != 0,
        "the admin port is 0 in the configuration, so the system has chosen one: name it with --at"
    );
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    url(&address.to_string())
}

/// Reads `127.0.0.1:5380` and `http://127.0.0.1:5380`.
fn url(at: &str) -> anyhow::Result<Url> {
    let with_scheme = if at.contains("://") { at.to_owned() } else { format!("http://{at}") };
    Url::parse(&with_scheme)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
        .with_context(|| {
            format!("--at {at:?} is no admin port; write it as 127.0.0.1:5380 or http://127.0.0.1:5380")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_port_is_found_from_what_is_configured_or_given() {
        let from = |address: &str| admin(Some(address.parse().unwrap())).map(|url| url.to_string());
        assert_eq!(from("127.0.0.1:5380").unwrap(), "http://127.0.0.1:5380/");
        assert_eq!(from("0.0.0.0:5380").unwrap(), "http://127.0.0.1:5380/");
        assert_eq!(from("[::]:5380").unwrap(), "http://[::1]:5380/");
        assert!(from("127.0.0.1:0").unwrap_err().to_string().contains("--at"));
        assert!(admin(None).unwrap_err().to_string().contains("SIGHUP"));
        for given in ["localhost:5380", "http://localhost:5380", "http://localhost:5380/"] {
            assert_eq!(url(given).unwrap().as_str(), "http://localhost:5380/");
        }
        for wrong in ["", "http://", "unix:///run/muster.sock", "::1:5380"] {
            assert!(url(wrong).unwrap_err().to_string().contains("127.0.0.1:5380"), "{wrong}");
        }
    }
}
