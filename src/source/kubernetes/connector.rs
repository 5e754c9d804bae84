//! Connections to an API server: TCP with keepalive, through a proxy if there is one, with TLS.
//!
//! A watch sends nothing, so the client of a server that has vanished without a reset learns it
//! only from keepalive probes. kube's own client sets none. The parts here are those that kube
//! makes its client of, with a TCP connector of our own at the bottom.

use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        Client as HyperClient,
        connect::{
            Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt as _},
};
use tower::{BoxError, Service, ServiceExt as _};

/// How long a connection may be idle before it is probed.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long to wait for the response to a probe.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// A connection is dead after so many probes without a response.
const KEEPALIVE_RETRIES: u32 = 3;
/// How long data that was sent may stay without an acknowledgment.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes a client for `config`, through its proxy if it has one.
pub(super) fn client(config: Config) -> Result<Client, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
    let Some(proxy) = config.proxy_url.clone() else { return over(tcp, config) };
    match proxy.scheme_str() {
        Some("socks5") => {
            let mut socks = SocksV5::new(proxy.clone(), tcp);
            if let Some((user, password)) = credentials(&proxy) {
                socks = socks.with_auth(user, password);
            }
            over(socks, config)
        }
        Some("https") => {
            let tls = config.rustls_https_connector_with_connector(tcp)?;
            over(with_credentials(Tunnel::new(proxy.clone(), tls), &proxy), config)
        }
        _ => over(with_credentials(Tunnel::new(proxy.clone(), tcp), &proxy), config),
    }
}

/// Makes a client whose connections are made by `connector`.
fn over<C>(connector: C, config: Config) -> Result<Client, kube::Error>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http: HyperClient<_, Body> = HyperClient::builder(TokioExecutor::new()).build(connector);
    let http = http.map_err(BoxError::from);
    let authentication = config.auth_layer()?;
    let builder = ClientBuilder::new(http, config.default_namespace.clone());
    let builder = builder.with_layer(&config.extra_headers_layer()?);
    Ok(match authentication {
        Some(layer) => builder.with_layer(&layer).with_layer(&config.base_uri_layer()).build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    })
}

fn with_credentials<C>(tunnel: Tunnel<C>, proxy: &Uri) -> Tunnel<C> {
    let Some((user, password)) = credentials(proxy) else { return tunnel };
    let basic = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    match HeaderValue::try_from(basic) {
        Ok(value) => tunnel.with_auth(value),
        Err(_) => tunnel,
    }
}

/// The user and password in a proxy's URL.
fn credentials(proxy: &Uri) -> Option<(String, String)> {
    let (credentials, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    Some((unescaped(user), unescaped(password)))
}

/// Decodes `%XX`; a `%` without two digits stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let escaped = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*byte));
        rest = tail.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes bytes as base64 (RFC 4648 section 4), with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_usize {
            let index = (bits >> (18 - 6 * at)) & 63;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(if at > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_of_a_proxy_are_unescaped() {
        let proxy: Uri = "http://me:p%40ss%3A@proxy:3128".parse().unwrap();
        let (user, password) = credentials(&proxy).unwrap();
        assert_eq!((user.as_str(), password.as_str()), ("me", "p@ss:"));
        assert_eq!(unescaped("100%+A%4"), "100%+A%4");
        assert_eq!(credentials(&"http://proxy:3128".parse().unwrap()), None);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let table = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (text, encoded) in table {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
