//! TLS settings for upstreams.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::error::SetupError;

/// TLS settings that trust the authorities in `ca_file`, or without one the system's.
///
/// # Errors
/// When the file cannot be read, or the system has no authorities.
pub(super) fn settings(ca_file: Option<&Path>) -> Result<ClientConfig, SetupError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = match ca_file {
        None => builder.with_platform_verifier()?.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities(path)? {
                roots.add(CertificateDer::from(authority))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"dot".to_vec()]; // RFC 7858, as registered with IANA
    Ok(config)
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
/// When the file cannot be read, or has no certificate.
pub(super) fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, SetupError> {
    let unreadable = |why: String| SetupError::Authorities(path.to_owned(), why);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unreadable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable("it has no certificate".to_owned()));
    }
    Ok(certificates.into_iter().map(|certificate| certificate.to_vec()).collect())
}
