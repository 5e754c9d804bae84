//! Why an upstream gives no answer, and why one cannot be set up.

use std::{io, path::PathBuf, time::Duration};

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum UpstreamError {
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    #[error("cannot be asked")]
    Io(#[from] io::Error),
    #[error("this machine has no socket for it")]
    Local(#[source] io::Error),
    #[error("cannot be asked over HTTPS")]
    Https(#[from] reqwest::Error),
    #[error("its answer cannot be read")]
    Malformed,
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of authorities cannot be read.
    #[error("cannot read the authorities in {0:?}: {1}")]
    Authorities(PathBuf, String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTPS client cannot be made.
    #[error("cannot set up HTTPS")]
    Https(#[from] reqwest::Error),
    /// The URL cannot be read.
    #[error("cannot read the URL: {0}")]
    Url(String),
    /// The name cannot be in a certificate.
    #[error("{0:?} cannot be in a certificate")]
    Name(String),
}
