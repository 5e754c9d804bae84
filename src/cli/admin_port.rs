//! Requests to the admin port of a running server.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{Method, StatusCode, Url};

use super::{configuration::ConfigArgs, output::fail};
use crate::model::ApiError;

/// How long a response may take; a reload takes longest.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to contact.
#[derive(Debug, clap::Args)]
pub(super) struct AdminPort {
    #[command(flatten)]
    configuration: ConfigArgs,
    /// The server's admin port, such as 127.0.0.1:5380 or a URL [default: the configuration's]
    #[arg(long, value_name = "ADDRESS")]
    at: Option<String>,
}

impl AdminPort {
    /// Checks the whole configuration, unless `--at` names a server that may have another one.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(super) fn check(&self) -> Result<(), ExitCode> {
        match &self.at {
            Some(_) => Ok(()),
            None => self.configuration.load().map(|_| ()),
        }
    }

    /// Finds the URL: what `--at` gives, else the configuration's.
    ///
    /// # Errors
    /// The exit code, when the configuration cannot be used or has no admin port; the error has
    /// been printed.
    pub(super) fn find(&self) -> Result<Url, ExitCode> {
        let url = match &self.at {
            Some(at) => parse_url(at),
            None => match self.configuration.load_listen() {
                Ok(listen) => configured_url(listen.admin),
                Err(code) => {
                    let _ = writeln!(
                        io::stderr(),
                        "muster: --at ADDRESS contacts a running server without its configuration"
                    );
                    return Err(code);
                }
            },
        };
        url.map_err(|error| fail(&error))
    }

    /// Prints why the server cannot be contacted, and which server that is if nobody said so.
    pub(super) fn fail(&self, error: &anyhow::Error) -> ExitCode {
        let code = fail(error);
        if self.at.is_none() && self.configuration.is_demo() {
            let _ = writeln!(
                io::stderr(),
                "muster: there is no ./muster.toml and no /etc/muster/muster.toml, so this is the admin port of \
                 the demo; --config or --at names another"
            );
        }
        code
    }

    /// Gets a page of the API.
    ///
    /// # Errors
    /// The exit code, when there is no such page: 2 where the request is wrong. The error has been
    /// printed.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, ExitCode> {
        let mut url = self.find()?;
        url.set_path(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let (status, text) = send(Method::GET, &url).map_err(|error| self.fail(&error))?;
        if status.is_success() {
            return Ok(text);
        }
        let message = serde_json::from_str(&text).map(|ApiError { error, .. }| error);
        match (status, message) {
            (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, Ok(message)) => {
                let _ = writeln!(io::stderr(), "muster: {message}");
                Err(ExitCode::from(2))
            }
            (status, message) => {
                let message = message.unwrap_or_else(|_| text.trim().to_owned());
                Err(fail(&anyhow::anyhow!("the admin port returned {status}: {message}")))
            }
        }
    }
}

/// Sends a request, in a runtime of its own; returns the status and the body.
pub(super) fn send(method: Method, url: &Url) -> anyhow::Result<(StatusCode, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // HTTP_PROXY is for the Internet; the admin port is on this machine or in this network.
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let request = client.request(method, url.clone()).header("X-Muster", "command");
        let mut base = url.clone();
        base.set_query(None);
        let response = request.send().await.map_err(reqwest::Error::without_url).with_context(|| {
            format!("cannot reach {base}: is muster running with this admin port? --at takes another one")
        })?;
        let status = response.status();
        Ok((status, response.text().await?))
    })
}

/// The URL of the admin port that the configuration has; a wildcard address becomes loopback.
fn configured_url(admin: Option<SocketAddr>) -> anyhow::Result<Url> {
    let mut address = admin.context(
        "the configuration has no admin port: set `admin` in [listen]; \
         to reload without one, send the server SIGHUP",
    )?;
    anyhow::ensure!(
        address.port() != 0,
        "`admin` in [listen] has port 0, so the system chose one: pass it with --at"
    );
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    parse_url(&address.to_string())
}

/// Parses `127.0.0.1:5380` and `http://127.0.0.1:5380`.
fn parse_url(at: &str) -> anyhow::Result<Url> {
    let with_scheme = if at.contains("://") { at.to_owned() } else { format!("http://{at}") };
    Url::parse(&with_scheme)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
        .with_context(|| {
            format!("--at {at:?} is not an admin port; write it as 127.0.0.1:5380 or http://127.0.0.1:5380")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_comes_from_the_configuration_or_from_at() {
        let from = |address: &str| configured_url(Some(address.parse().unwrap())).map(|url| url.to_string());
        assert_eq!(from("127.0.0.1:5380").unwrap(), "http://127.0.0.1:5380/");
        assert_eq!(from("0.0.0.0:5380").unwrap(), "http://127.0.0.1:5380/");
        assert_eq!(from("[::]:5380").unwrap(), "http://[::1]:5380/");
        assert!(from("127.0.0.1:0").unwrap_err().to_string().contains("--at"));
        assert!(configured_url(None).unwrap_err().to_string().contains("SIGHUP"));
        for given in ["localhost:5380", "http://localhost:5380", "http://localhost:5380/"] {
            assert_eq!(parse_url(given).unwrap().as_str(), "http://localhost:5380/");
        }
        for wrong in ["", "http://", "unix:///run/muster.sock", "::1:5380"] {
            assert!(parse_url(wrong).unwrap_err().to_string().contains("127.0.0.1:5380"), "{wrong}");
        }
    }
}
