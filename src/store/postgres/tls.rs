//! TLS to PostgreSQL by rustls, with the meanings that libpq gives to `sslmode` and `sslrootcert`.
//!
//! `disable` (and no word of it): plain. `prefer` and `require`: encrypted, the certificate is not checked, unless
//! `sslrootcert` names a file. `verify-ca` and `verify-full`: checked against `sslrootcert` or the system's roots; the host
//! name is checked in both, because a certificate of another host proves nothing.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What the URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain.
    Off,
    /// Encrypted where the server can, plain otherwise; nothing is checked.
    Prefer,
    /// Encrypted; nothing is checked.
    Require,
    /// Encrypted and checked against the roots in this PEM file, or the system's.
    Verify(Option<String>),
}

/// Takes `sslmode` and `sslrootcert` out of a URL, because the driver knows fewer modes than libpq.
///
/// # Errors
/// An unknown mode.
pub fn split_url(url: &str) -> Result<(String, TlsMode), String> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), TlsMode::Off));
    };
    let (mut mode, mut root, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => {
                let decoded =
                    url::form_urlencoded::parse(format!("v={value}").as_bytes()).next().map(|(_, v)| v.into_owned());
                root = decoded.filter(|path| path != "system");
            }
            _ => rest.push(pair),
        }
    }
    let mode = match (mode, root) {
        (None, Some(root)) => TlsMode::Verify(Some(root)),
        (None | Some("disable" | "allow"), _) => TlsMode::Off,
        (Some("prefer"), None) => TlsMode::Prefer,
        (Some("require"), None) => TlsMode::Require,
        (Some("prefer" | "require" | "verify-ca" | "verify-full"), root) => TlsMode::Verify(root),
        (Some(other), _) => {
            return Err(format!(
                "store.url has sslmode={other}; known are disable, prefer, require, verify-ca and verify-full"
            ));
        }
    };
    let base = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((base, mode))
}

/// The connector of a mode that encrypts.
///
/// # Errors
/// A root file that cannot be read, or no roots at all.
pub fn connector(mode: &TlsMode) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let config = match mode {
        TlsMode::Verify(root) => builder.with_root_certificates(roots(root.as_deref())?).with_no_client_auth(),
        TlsMode::Off | TlsMode::Prefer | TlsMode::Require => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = match file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| format!("sslrootcert {path} cannot be read: {error}"))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(format!(
            "no usable root certificate in {}; name a PEM file with sslrootcert",
            file.unwrap_or("the system's store")
        ));
    }
    Ok(roots)
}

/// Checks the handshake's signatures but not whose certificate it is: the meaning of `sslmode=require`.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_of_libpq_are_known() {
        let split = |url: &str| split_url(url).expect("a known mode");
        assert_eq!(split("postgres://a@h1:1,h2:2/d"), ("postgres://a@h1:1,h2:2/d".into(), TlsMode::Off));
        assert_eq!(
            split("postgres://a@h/d?sslmode=require&connect_timeout=3"),
            ("postgres://a@h/d?connect_timeout=3".into(), TlsMode::Require)
        );
        assert_eq!(
            split("postgres://a@h/d?sslmode=verify-full&sslrootcert=%2Ftmp%2Fca.pem").1,
            TlsMode::Verify(Some("/tmp/ca.pem".into()))
        );
        assert_eq!(split("postgres://a@h/d?sslmode=require&sslrootcert=x").1, TlsMode::Verify(Some("x".into())));
        assert!(split_url("postgres://a@h/d?sslmode=maybe").is_err());
    }
}
