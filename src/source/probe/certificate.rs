//! Certificates: what an HTTPS probe expects of one.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use crate::config::TlsCheck;

/// Makes the TLS settings of a probe. Reads the file of authorities, so that a new one counts with the
/// next probe.
///
/// # Errors
/// When the authorities cannot be read.
pub(super) fn settings(check: &TlsCheck) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        CertificateVerifier { validity: Validity::new(check, &provider)?, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    // Every probe opens its own session: a resumed one would hide that the certificate has expired.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Judges certificates for one check.
#[derive(Debug)]
struct CertificateVerifier {
    validity: Option<Validity>,
    provider: Arc<CryptoProvider>,
}

/// How a certificate's validity is judged.
#[derive(Debug)]
struct Validity {
    authorities: Arc<dyn ServerCertVerifier>,
    valid_for: Duration,
}

impl Validity {
    /// `None` if any certificate will do.
    fn new(check: &TlsCheck, provider: &Arc<CryptoProvider>) -> Result<Option<Self>, String> {
        let TlsCheck::Verified { ca_file, valid_for } = check else { return Ok(None) };
        let authorities: Arc<dyn ServerCertVerifier> = match ca_file {
            Some(file) => WebPkiServerVerifier::builder_with_provider(roots(file)?, Arc::clone(provider))
                .build()
                .map_err(|error| error.to_string())?,
            None => Arc::new(
                rustls_platform_verifier::Verifier::new(Arc::clone(provider))
                    .map_err(|error| format!("cannot read the system's authorities: {error}"))?,
            ),
        };
        Ok(Some(Self { authorities, valid_for: *valid_for }))
    }
}

/// The authorities in a PEM file.
fn roots(file: &Path) -> Result<Arc<RootCertStore>, String> {
    let unreadable = |error: String| format!("cannot use the ca_file {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(unreadable("it has no certificate".to_owned())),
        false => Ok(Arc::new(roots)),
    }
}

impl ServerCertVerifier for CertificateVerifier {
    /// Asks twice if the certificate must be valid for longer: now, and as if that time had passed.
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Validity { authorities, valid_for }) = &self.validity else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = authorities.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        if valid_for.is_zero() {
            return Ok(verified);
        }
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + *valid_for);
        authorities.verify_server_cert(certificate, intermediates, name, ocsp, later).map_err(|error| {
            match error {
                Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                ) => Error::General(format!(
                    "the certificate expires within {} days",
                    valid_for.as_secs().div_ceil(86_400)
                )),
                other => other,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
