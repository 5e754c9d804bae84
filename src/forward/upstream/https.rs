//! Asking over HTTPS (RFC 8484): POST over HTTP/2, by the HTTP client that Consul is asked with.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Certificate, Client, Url, header};

use super::{
    super::upstream_query::{QueryForm, UpstreamQuery},
    error::SetupError,
    matching::is_answer,
};

const MEDIA_TYPE: &str = "application/dns-message";

/// Largest message (RFC 1035 section 4.2.2).
const MAX: usize = 65_535;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a peer that was asked may send nothing, until it is asked for a sign of life, and how long that may take: what
/// goes between us has forgotten connections, and a new one must be had within a client's patience.
const SILENCE: Duration = Duration::from_secs(1);

/// An upstream's client; it keeps a connection.
#[derive(Debug)]
pub(super) struct HttpsClient {
    client: Client,
    url: Url,
}

impl HttpsClient {
    /// Makes a client that trusts `authorities`, or without any the system's, and finds the host at `address`.
    ///
    /// # Errors
    /// When the URL cannot be read or TLS cannot be set up.
    pub(super) fn new(
        url: &str,
        address: Option<SocketAddr>,
        authorities: Option<&[Vec<u8>]>,
    ) -> Result<Self, SetupError> {
        let url = Url::parse(url).map_err(|error| SetupError::Url(error.to_string()))?;
        // Redirects and proxies would lead to where nobody said.
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

    /// Asks once.
    ///
    /// # Errors
    /// When the server cannot be reached, or what it sends is no answer.
    pub(super) async fn exchange(
        &self,
        query: &UpstreamQuery,
        form: QueryForm,
    ) -> Result<Vec<u8>, reqwest::Error> {
        // "SHOULD use a DNS ID of 0" (RFC 8484 section 4.1): equal requests can be cached on their way.
        let message = query.encode(0, form);
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(header::ACCEPT, MEDIA_TYPE)
            .body(message.clone());
        let mut response = request.send().await?.error_for_status()?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            answer.extend_from_slice(&chunk);
            if answer.len() > MAX {
                break;
            }
        }
        // What does not answer the question is as good as nothing; the caller finds it malformed.
        if answer.len() > MAX || !is_answer(&message, &answer, form) {
            answer.clear();
        }
        Ok(answer)
    }
}
