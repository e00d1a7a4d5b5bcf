//! The handshake of a link: both sides prove an Ed25519 key, and both check it before anything else happens.
//!
//! Keys are shown raw (RFC 7250): the SubjectPublicKeyInfo of 44 bytes takes the place of a certificate. There are no
//! names, issuers or dates to trust or to check; a peer that offers an X.509 certificate, expired or not, is refused
//! before it can show it. A key is good for as long as it is in the set.
//!
//! 1. The ALPN is `tana-link/1/` and the genesis hash in hexadecimal digits. Peers of another chain have no protocol in
//!    common and get no further than the first message. TLS signs the ALPN with everything else.
//! 2. Who dials pins one key ([`PeerVerifier`] with `expected`). Who is dialled asks for a key and looks it up in the
//!    set ([`PeerVerifier`] without). Unknown and blocked keys fail the handshake.
//! 3. TLS checks the signature of the handshake under that key. Each handshake signs fresh randomness of both sides, and
//!    there is no resumption, ticket or early data: nothing that was recorded can be played again.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::limits::{LinkLimits, STREAMS_MAX};
use super::metrics::LinkRefusal;
use super::peer::PeerSet;
use super::window::FlooredConfig;
use crate::identity::{IdentityError, PKCS8_PREFIX, SPKI_PREFIX, only_tls13, provider};

/// Name of the protocol; a slash and the genesis hash follow.
pub(crate) const ALPN_PREFIX: &str = "tana-link/1/";

/// Name in the dialler's first message; carries no meaning.
pub(crate) const SERVER_NAME: &str = "tana-link";

/// Hello streams and channels are the only ones: no handshake needs more than this of unordered crypto data.
const CRYPTO_BUFFER_BYTES: usize = 8 * 1024;

/// Connection attempts that quinn holds until they are decided on, and bytes that it holds for each and for all.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES_MAX: u64 = 16 * 1024;
const INCOMING_BYTES_IN_ALL_MAX: u64 = 1024 * 1024;

/// What this node shows in every handshake.
#[derive(Clone)]
pub(crate) struct LinkIdentity {
    certified: Arc<CertifiedKey>,
    alpn: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl LinkIdentity {
    pub(crate) fn new(key: &SigningKey, genesis_hash: &[u8; 32]) -> Result<Self, IdentityError> {
        let private = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], key.as_bytes()].concat());
        let signer = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(private))?;
        let public = [&SPKI_PREFIX[..], key.verifying_key().as_bytes()].concat();
        let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signer));
        Ok(LinkIdentity { certified, alpn: alpn(genesis_hash), provider: provider() })
    }

    /// quinn's configuration for those who dial this node.
    pub(crate) fn server_config(
        &self,
        peers: Arc<PeerSet>,
        limits: &LinkLimits,
    ) -> Result<quinn::ServerConfig, IdentityError> {
        let verifier = PeerVerifier { peers, expected: None, provider: self.provider.clone() };
        let mut tls = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified.clone())));
        tls.alpn_protocols = vec![self.alpn.clone()];
        tls.ignore_client_order = true;
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls);
        let crypto = crypto.map_err(|_| IdentityError::NoInitialSuite)?;
        let mut tokens = quinn::ValidationTokenConfig::default();
        tokens.sent(0);
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .migration(false)
            .validation_token_config(tokens)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_IN_ALL_MAX)
            .transport_config(transport(limits));
        Ok(config)
    }

    /// quinn's configuration to dial `peer`.
    pub(crate) fn client_config(
        &self,
        peers: Arc<PeerSet>,
        peer: [u8; 32],
        limits: &LinkLimits,
    ) -> Result<quinn::ClientConfig, IdentityError> {
        let verifier = PeerVerifier { peers, expected: Some(peer), provider: self.provider.clone() };
        let mut tls = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified.clone())));
        tls.alpn_protocols = vec![self.alpn.clone()];
        tls.resumption = rustls::client::Resumption::disabled();
        tls.enable_sni = false;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls);
        let mut config = quinn::ClientConfig::new(Arc::new(crypto.map_err(|_| IdentityError::NoInitialSuite)?));
        config.transport_config(transport(limits));
        Ok(config)
    }
}

/// The protocol's name on the chain with this genesis hash.
pub(crate) fn alpn(genesis_hash: &[u8; 32]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut alpn = ALPN_PREFIX.as_bytes().to_vec();
    for byte in genesis_hash {
        alpn.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    alpn
}

/// The Ed25519 key of a raw public key; `None` when it is of another kind.
pub(crate) fn raw_key(shown: &[u8]) -> Option<[u8; 32]> {
    shown.strip_prefix(&SPKI_PREFIX[..]).and_then(|key| <[u8; 32]>::try_from(key).ok())
}

/// quinn's settings for both ends of a link.
fn transport(limits: &LinkLimits) -> Arc<TransportConfig> {
    let idle_ms = u32::try_from(limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(limits.connection_window_bytes()))
        .send_window(limits.send_window_bytes())
        .keep_alive_interval(Some(limits.keep_alive))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .congestion_controller_factory(Arc::new(FlooredConfig::default()))
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// The check of the other side's key, for both roles.
#[derive(Debug)]
struct PeerVerifier {
    peers: Arc<PeerSet>,
    /// The key that must answer; where there is none, any key of the set may ask.
    expected: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl PeerVerifier {
    fn check(&self, shown: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let refusal = match raw_key(shown) {
            Some(key) if others.is_empty() => match self.expected {
                Some(expected) if expected == key => None,
                Some(_) => Some(LinkRefusal::OtherKey),
                None => self.peers.refusal(&key),
            },
            _ => Some(LinkRefusal::Certificate),
        };
        match refusal {
            None => Ok(()),
            Some(refusal) => {
                self.peers.refused.count(refusal);
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
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
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
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
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
