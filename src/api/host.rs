//! Which names the pages below `/v1/` are served under.
//!
//! A page on the Internet can have its own name resolve to 127.0.0.1. Its scripts may then read the
//! admin port as if it were their own server, and send it any header (DNS rebinding). Their requests
//! have that name in the Host header.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::state::ApiState;

/// Lets a request pass if its Host is one that no page of another site can have.
pub(super) async fn check(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if is_ours(&request, &state.hosts) {
        return next.run(request).await;
    }
    let text = "the Host header has a name that muster does not know: use an address, or add the name to admin_hosts \
                in [listen]\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

fn is_ours(request: &Request, hosts: &[String]) -> bool {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().ok()?.parse::<Authority>().ok());
    match (host, request.uri().authority()) {
        (Some(host), _) => host.is_some_and(|host| is_known(host.host(), hosts)),
        (None, Some(authority)) => is_known(authority.host(), hosts),
        // No browser sends a request without a host.
        (None, None) => true,
    }
}

/// Whether no page of another site can have this host: an address, a name without a dot, a name in
/// `localhost` (RFC 6761 section 6.3), or one that is configured.
fn is_known(host: &str, hosts: &[String]) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || host.ends_with(".localhost")
        || hosts.iter().any(|known| known.trim_end_matches('.').eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_site_can_have_must_be_configured() {
        let hosts = ["dns1.corp.example".to_owned()];
        for host in ["127.0.0.1", "[::1]", "localhost", "muster", "a.localhost", "DNS1.corp.example."] {
            assert!(is_known(host, &hosts), "{host}");
        }
        for host in ["attacker.example", "corp.example", "127.0.0.1.attacker.example", "xlocalhost.example"] {
            assert!(!is_known(host, &hosts), "{host}");
        }
    }
}
