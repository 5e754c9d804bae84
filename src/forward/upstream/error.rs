//! Errors of upstreams: of a query, and of their setup.

use std::{io, path::PathBuf, time::Duration};

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::forward) enum UpstreamError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("cannot be reached")]
    Io(#[from] io::Error),
    #[error("no local socket is available")]
    Local(#[source] io::Error),
    #[error("too many queries are in flight")]
    Busy,
    #[error("the HTTPS request failed")]
    Https(#[from] reqwest::Error),
    #[error("malformed answer")]
    Malformed,
}

impl UpstreamError {
    /// Whether the upstream was not queried, for want of something of ours.
    pub(in crate::forward) fn is_ours(&self) -> bool {
        matches!(self, Self::Local(_) | Self::Busy)
    }
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The `ca_file` cannot be read.
    #[error("cannot read the authorities in {0:?}: {1}")]
    Authorities(PathBuf, String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTPS client cannot be set up.
    #[error("cannot set up HTTPS")]
    Https(#[from] reqwest::Error),
    /// The URL is invalid.
    #[error("invalid URL: {0}")]
    Url(String),
    /// The server name is invalid.
    #[error("{0:?} cannot be the name in a certificate")]
    Name(String),
}
