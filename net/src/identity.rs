//! A validator's Ed25519 key as its TLS identity.
//!
//! TLS 1.3 wants a certificate; the network has keys. So the server makes itself a certificate whose subject key *is*
//! the validator's Ed25519 key, signed with it, and the client looks at nothing but that key:
//!
//! 1. it parses the certificate and takes its subject public key;
//! 2. it compares the key with the pinned one ([`ServerPin::Key`]), or skips that ([`ServerPin::Insecure`]);
//! 3. TLS checks the handshake's signature against the certificate's key, so the server holds the private key.
//!
//! Names, dates, issuers and the certificate's own signature carry no trust and are not looked at. Only TLS 1.3 with
//! ALPN [`ALPN`] is spoken, AES-128-GCM first (the fastest here), without resumption or early data.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use thiserror::Error;

/// Name of the protocol, negotiated in the handshake.
pub const ALPN: &[u8] = b"tana-tx/1";

/// Name in the certificate and in the client's hello; carries no meaning.
pub(crate) const SERVER_NAME: &str = "tana-validator";

/// DER of a PKCS#8 Ed25519 private key (RFC 8410, section 7) up to the 32 bytes of the seed.
pub(crate) const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// DER of an Ed25519 subject public key info (RFC 8410, section 4) up to the 32 bytes of the key.
pub(crate) const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why an identity or a TLS configuration could not be made.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The certificate could not be made from the key.
    #[error("no certificate could be made from the Ed25519 key: {0}; the key file may be damaged")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses the configuration.
    #[error("TLS refuses the identity: {0}")]
    Tls(#[from] rustls::Error),
    /// The cipher suites offer none that QUIC's first packets need.
    #[error("TLS lacks AES-128-GCM, which QUIC needs for its first packets")]
    NoInitialSuite,
}

/// An Ed25519 key with its self-signed certificate.
pub struct Identity {
    public_key: [u8; 32],
    certificate: CertificateDer<'static>,
    private_key: PrivatePkcs8KeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Identity {
            public_key: self.public_key,
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone_key(),
        }
    }
}

impl Identity {
    /// The identity of the key with this 32-byte seed.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] when no certificate can be made.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, IdentityError> {
        let private_key = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &seed[..]].concat());
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&private_key, &rcgen::PKCS_ED25519)?;
        let certificate = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()])?.self_signed(&pair)?;
        let public_key = SigningKey::from_bytes(seed).verifying_key().to_bytes();
        Ok(Identity { public_key, certificate: certificate.der().clone(), private_key })
    }

    /// The identity of `key`.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] when no certificate can be made.
    pub fn from_signing_key(key: &SigningKey) -> Result<Self, IdentityError> {
        Self::from_seed(key.as_bytes())
    }

    /// The public key, which clients pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The server's side of TLS, for `alpn`.
    pub(crate) fn server_tls(
        &self,
        alpn: &[u8],
    ) -> Result<Arc<quinn::crypto::rustls::QuicServerConfig>, IdentityError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.private_key.clone_key()))?;
        config.alpn_protocols = vec![alpn.to_vec()];
        config.ignore_client_order = true;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let config = quinn::crypto::rustls::QuicServerConfig::try_from(config);
        Ok(Arc::new(config.map_err(|_| IdentityError::NoInitialSuite)?))
    }
}

/// Which server a client wants to talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPin {
    /// Only the holder of this Ed25519 key.
    Key([u8; 32]),
    /// Anybody: the connection is encrypted, but who answers is not known.
    Insecure,
}

/// What every verifier says to TLS 1.2, which is never negotiated.
pub(crate) fn only_tls13() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
}

/// The client's check of the server's certificate. Remembers the key that it saw, for the error text.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    pin: ServerPin,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<[u8; 32]>>,
}

impl PinnedVerifier {
    /// The key of the last server that answered, if it showed an Ed25519 key.
    pub(crate) fn seen(&self) -> Option<[u8; 32]> {
        *self.seen.lock()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = subject_key(end_entity)?;
        *self.seen.lock() = found;
        match self.pin {
            ServerPin::Key(wanted) if found != Some(wanted) => {
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The client's side of TLS for a server with `pin`, and the verifier that it uses.
pub(crate) fn client_tls(
    pin: ServerPin,
    alpn: &[u8],
) -> Result<(Arc<quinn::crypto::rustls::QuicClientConfig>, Arc<PinnedVerifier>), IdentityError> {
    let provider = provider();
    let verifier = Arc::new(PinnedVerifier { pin, provider: provider.clone(), seen: Mutex::new(None) });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config);
    Ok((Arc::new(config.map_err(|_| IdentityError::NoInitialSuite)?), verifier))
}

/// The Ed25519 key that a certificate is about; `None` when it is a key of another kind.
fn subject_key(certificate: &CertificateDer<'_>) -> Result<Option<[u8; 32]>, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let info = parsed.subject_public_key_info();
    Ok(info.as_ref().strip_prefix(&SPKI_PREFIX[..]).and_then(|key| <[u8; 32]>::try_from(key).ok()))
}

/// ring, with AES-128-GCM in front of the suites of TLS 1.3.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(provider)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
