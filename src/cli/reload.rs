//! `muster reload`.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{StatusCode, Url};

use super::{Configuration, fail, load, print};

/// How long reading the files and going over to them may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(configuration: &Configuration, at: Option<&str>) -> ExitCode {
    let url = match at {
        Some(at) => url(at),
        None => match load(configuration) {
            Ok((loaded, _)) => admin(loaded.config.listen.admin),
            Err(code) => {
                let _ = writeln!(io::stderr(), "\nmuster: nothing was sent: the server goes on as it is");
                return code;
            }
        },
    };
    let asked = url.and_then(|url| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(&url))
    });
    match asked {
        Ok((status, text)) if status.is_success() => {
            print(&text);
            ExitCode::SUCCESS
        }
        Ok((StatusCode::UNPROCESSABLE_ENTITY, text)) => {
            let _ = write!(io::stderr(), "{text}");
            ExitCode::from(2)
        }
        Ok((status, text)) => fail(&anyhow::anyhow!("the admin port answers {status}: {}", text.trim())),
        Err(error) => fail(&error),
    }
}

/// Asks the server to read its configuration again; returns what it says.
async fn ask(url: &Url) -> anyhow::Result<(StatusCode, String)> {
    // The admin port is near, whatever proxy is set for the world outside.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let request = client.post(url.clone()).header("X-Muster", "reload");
    let response = request.send().await.with_context(|| {
        format!("cannot reach {url}: is muster running, with that admin port? Name another with --at")
    })?;
    let status = response.status();
    Ok((status, response.text().await?))
}

/// Where the server of a configuration listens for it.
fn admin(admin: Option<SocketAddr>) -> anyhow::Result<Url> {
    let mut address = admin
        .context("the configuration has no admin port: set `admin` in [listen], or send the server SIGHUP")?;
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
    let base = Url::parse(&with_scheme)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
        .with_context(|| {
            format!("--at {at:?} is no admin port; write it as 127.0.0.1:5380 or http://127.0.0.1:5380")
        })?;
    Ok(base.join("v1/reload")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_port_is_found_from_what_is_configured_or_given() {
        let from = |address: &str| admin(Some(address.parse().unwrap())).map(|url| url.to_string());
        assert_eq!(from("127.0.0.1:5380").unwrap(), "http://127.0.0.1:5380/v1/reload");
        assert_eq!(from("0.0.0.0:5380").unwrap(), "http://127.0.0.1:5380/v1/reload");
        assert_eq!(from("[::]:5380").unwrap(), "http://[::1]:5380/v1/reload");
        assert!(from("127.0.0.1:0").unwrap_err().to_string().contains("--at"));
        assert!(admin(None).unwrap_err().to_string().contains("SIGHUP"));
        for given in ["localhost:5380", "http://localhost:5380", "http://localhost:5380/"] {
            assert_eq!(url(given).unwrap().as_str(), "http://localhost:5380/v1/reload");
        }
        for wrong in ["", "http://", "unix:///run/muster.sock", "::1:5380"] {
            assert!(url(wrong).unwrap_err().to_string().contains("127.0.0.1:5380"), "{wrong}");
        }
    }
}
