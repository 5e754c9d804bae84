//! The proxy in front of an API server, chosen as kubectl does.
//!
//! `proxy-url` in the kubeconfig always counts. Without it, the environment's `HTTPS_PROXY` (for an
//! `http://` server, `HTTP_PROXY`) counts, unless `NO_PROXY` has the server's host. Loopback
//! addresses and `localhost` never get the environment's proxy.
//!
//! <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>
//!
//! Rejected: kube's own choice. It matches `NO_PROXY` against the proxy's host instead of the
//! server's, and fails for lists that Go accepts, such as one with a comma at its end.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

/// Returns the proxy for `server`; `variable` reads the environment.
///
/// # Errors
/// When the proxy's URL cannot be used. The text has no part of the URL: it may have a password.
pub(super) fn proxy_for(
    server: &Uri,
    configured: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, String> {
    if let Some(url) = configured.filter(|url| !url.is_empty()) {
        return parse(url).map(Some).ok_or_else(|| format!("proxy-url {REQUIREMENT}"));
    }
    let read = |name: &str| {
        let value = variable(name).filter(|value| !value.is_empty());
        value.or_else(|| variable(&name.to_ascii_lowercase()).filter(|value| !value.is_empty()))
    };
    let name = if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    let Some(url) = read(name) else { return Ok(None) };
    if !needs_proxy(server, &read("NO_PROXY").unwrap_or_default()) {
        return Ok(None);
    }
    parse(&url).map(Some).ok_or_else(|| format!("{name} in the environment {REQUIREMENT}"))
}

const REQUIREMENT: &str = "must be a URL such as http://proxy.example:3128 (http, https or socks5)";

/// Parses a proxy's URL; without a scheme it is that of an HTTP proxy.
fn parse(url: &str) -> Option<Uri> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = url.parse().ok()?;
    uri.host().filter(|host| !host.is_empty())?;
    matches!(uri.scheme_str()?, "http" | "https" | "socks5").then_some(uri)
}

/// Whether requests to `server` go through the environment's proxy.
fn needs_proxy(server: &Uri, exceptions: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return false;
    }
    let default_port = if server.scheme_str() == Some("http") { 80 } else { 443 };
    let port = server.port_u16().unwrap_or(default_port);
    !exceptions.split(',').any(|exception| excludes(exception.trim(), &host, address, port))
}

/// Whether one entry of `NO_PROXY` has the host.
fn excludes(exception: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    let exception = exception.to_ascii_lowercase();
    if exception == "*" {
        return true;
    }
    if let Ok(network) = exception.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address));
    }
    let (name, wanted_port) = match exception.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => match digits.parse::<u16>() {
            Ok(number) => (name, Some(number)),
            Err(_) => return false,
        },
        _ => (exception.as_str(), None),
    };
    if wanted_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(excluded) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address == Some(excluded);
    }
    // `example.com` has its subdomains too; `.example.com` and `*.example.com` have only these.
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None if name.is_empty() => false,
        None => host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(server: &str, configured: Option<&str>, environment: &[(&str, &str)]) -> Option<String> {
        let server: Uri = server.parse().unwrap();
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        proxy_for(&server, configured, variable).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_environments_proxy_counts_unless_excluded() {
        const SERVER: &str = "https://api.prod.example:6443";
        let proxied = |exceptions| {
            choose(SERVER, None, &[("HTTPS_PROXY", "proxy:3128"), ("NO_PROXY", exceptions)]).is_some()
        };
        for exceptions in ["", "other.example", "i.prod.example", "api.prod.example:443", ".", "a,,b,", "::1"]
        {
            assert!(proxied(exceptions), "{exceptions}");
        }
        for exceptions in [
            "*",
            "x, prod.example",
            ".prod.example",
            "*.example",
            "API.prod.example",
            "api.prod.example:6443,",
        ] {
            assert!(!proxied(exceptions), "{exceptions}");
        }
        let lower = choose(SERVER, None, &[("https_proxy", "http://proxy:3128/")]);
        assert_eq!(lower.as_deref(), Some("http://proxy:3128/"));
        assert_eq!(choose(SERVER, None, &[("HTTP_PROXY", "http://proxy:3128")]), None);
    }

    #[test]
    fn addresses_are_excluded_by_networks() {
        let proxied = |server: &str, exceptions| {
            choose(server, None, &[("HTTPS_PROXY", "http://p:1"), ("no_proxy", exceptions)]).is_some()
        };
        assert!(!proxied("https://10.1.2.3", "10.0.0.0/8"));
        assert!(proxied("https://11.1.2.3", "10.0.0.0/8"));
        assert!(!proxied("https://[fd00::1]:6443", "fd00::/16"));
        assert!(!proxied("https://10.1.2.3:6443", "10.1.2.3"));
        assert!(!proxied("https://[fd00::1]:6443", "[fd00::1]:6443"));
        assert!(!proxied("https://127.0.0.1:6443", ""), "loopback never has a proxy");
        assert!(!proxied("https://localhost:6443", ""));
    }

    #[test]
    fn the_kubeconfigs_proxy_counts_always() {
        let environment = [("HTTPS_PROXY", "http://other:1"), ("NO_PROXY", "*")];
        let chosen = choose("https://127.0.0.1:6443", Some("socks5://bastion:1080"), &environment);
        assert_eq!(chosen.as_deref(), Some("socks5://bastion:1080/"));
    }

    #[test]
    fn a_bad_proxy_is_not_quoted() {
        let server: Uri = "https://api.example".parse().unwrap();
        for url in ["ftp://me:secret@proxy", "http://me:se cret@proxy", "http://"] {
            let error = proxy_for(&server, Some(url), |_| None).unwrap_err();
            assert!(error.starts_with("proxy-url must be"), "{error}");
        }
    }
}
