//! DNS over HTTPS (RFC 8484): POST over HTTP/2, with the HTTP client that also queries Consul.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use reqwest::{Body, Certificate, Client, Url, header};

use super::{
    super::upstream_query::{QueryForm, UpstreamQuery},
    error::{SetupError, UpstreamError},
    matching::is_answer,
};
use crate::wire::TCP_LIMIT;

const MEDIA_TYPE: &str = "application/dns-message";

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a peer may send nothing before it is pinged, and how long its answer to the ping may
/// take: a firewall in between may have dropped the connection, and a new one must exist while
/// clients wait.
const SILENCE: Duration = Duration::from_secs(1);

/// The client of an upstream over HTTPS. It keeps a connection.
#[derive(Debug)]
pub(super) struct HttpsClient {
    client: Client,
    url: Url,
}

impl HttpsClient {
    /// Makes a client that trusts `authorities`, or without any the system's, and finds the URL's
    /// host at `address`, or without one by the system's resolver.
    ///
    /// # Errors
    /// When the URL is invalid or TLS cannot be set up.
    pub(super) fn new(
        url: &str,
        address: Option<SocketAddr>,
        authorities: Option<&[Vec<u8>]>,
    ) -> Result<Self, SetupError> {
        let url = Url::parse(url).map_err(|error| SetupError::Url(error.to_string()))?;
        // Redirects and proxies would lead away from the configured host.
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .https_only(true)
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(SILENCE)
            .http2_keep_alive_timeout(SILENCE);
        if let (Some(address), Some(host)) = (address, url.host_str()) {
            builder = builder.resolve(host, address);
        }
        if let Some(authorities) = authorities {
            let read: Result<Vec<_>, _> =
                authorities.iter().map(|authority| Certificate::from_der(authority)).collect();
            builder = builder.tls_certs_only(read?);
        }
        Ok(Self { client: builder.build()?, url })
    }

    /// Queries once.
    ///
    /// # Errors
    /// When the server cannot be reached, or its response is not an answer to the query.
    pub(super) async fn exchange(
        &self,
        query: &UpstreamQuery,
        form: QueryForm,
    ) -> Result<Vec<u8>, UpstreamError> {
        // "SHOULD use a DNS ID of 0" (RFC 8484 section 4.1), so that equal requests can be cached.
        let sent = query.encode(0, form);
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(header::ACCEPT, MEDIA_TYPE)
            .body(sent.clone());
        let response = request.send().await?.error_for_status()?;
        let body = Limited::new(Body::from(response), TCP_LIMIT).collect().await;
        let answer = body.map_err(body_error)?.to_bytes();
        if !is_answer(&sent, &answer, form) {
            return Err(UpstreamError::Malformed);
        }
        Ok(answer.into())
    }
}

/// The error of a body that could not be read, or is longer than a message can be.
fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> UpstreamError {
    error.downcast::<reqwest::Error>().map_or(UpstreamError::Malformed, |error| UpstreamError::Https(*error))
}
