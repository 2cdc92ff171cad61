//! Whose certificates a connection to Redis believes, where it is not the system's authorities.

use std::path::Path;
use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::RedisError;

/// TLS that believes the authorities in a PEM file, and no other.
pub(super) fn believing(file: &Path) -> Result<TlsConfig, RedisError> {
    client(file)
        .map(|client| TlsConnector::from(client).into())
        .map_err(|source| RedisError::Ca { file: file.display().to_string(), source })
}

fn client(file: &Path) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        authorities.add(certificate?)?;
    }
    if authorities.is_empty() {
        return Err("there is no certificate in it".into());
    }
    // Named, since a process in which two libraries are built in has no provider of its own.
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(client.with_safe_default_protocol_versions()?.with_root_certificates(authorities).with_no_client_auth())
}
