//! TLS for what this box asks of others, in builds with the feature `tls`: rustls with ring, and the certificates that
//! the system trusts. Without the feature there is only the wording of what was refused.
//!
//! Owns: which certificates are trusted. Does not: connect to anything, or keep a list of authorities of its own.

#[cfg(feature = "tls")]
pub use self::with::{config, connect};

/// A refused certificate, in words; most often it is the clock of this box that is wrong. None when `error` is about
/// something else.
pub fn refused(error: &str) -> Option<String> {
    let lower = error.to_lowercase();
    if !lower.contains("certificate") {
        return None;
    }
    let now = crate::clock::Wall::now().rfc3339();
    Some(if lower.contains("expired") || lower.contains("notvalidyet") || lower.contains("not valid yet") {
        format!(
            "the server's certificate is not valid at {now}, which is the time here: is this box's clock right?"
        )
    } else if lower.contains("unknownissuer") || lower.contains("unknown issuer") {
        "the server's certificate is by nobody whom this system trusts".into()
    } else if lower.contains("not valid for name") || lower.contains("notvalidforname") {
        let said = lower.split("not valid for name").nth(1).unwrap_or_default().trim();
        format!("the server's certificate is for another name than this address has: {said}")
    } else {
        format!("the server's certificate is refused: {error}")
    })
}

#[cfg(feature = "tls")]
mod with {
    use super::refused;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use std::io::{ErrorKind, Read, Write};
    use std::sync::{Arc, OnceLock};
    use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

    /// Where distributions keep what they trust: Debian's ca-certificates, Fedora, Alpine.
    const BUNDLES: [&str; 3] =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    /// A larger file is no bundle.
    const MOST: u64 = 4 * 1024 * 1024;

    /// The settings of an agent of ureq; without them it trusts nobody.
    pub fn config() -> TlsConfig {
        TlsConfig::builder().root_certs(RootCerts::from(roots().iter().cloned())).build()
    }

    /// A TLS connection to `host` over `wire`, whose time limits hold for the handshake too.
    ///
    /// # Errors
    /// One sentence.
    pub fn connect<T: Read + Write>(wire: T, host: &str) -> Result<StreamOwned<ClientConnection, T>, String> {
        let name =
            ServerName::try_from(host.to_string()).map_err(|_| format!("{host:?} is no name of a host"))?;
        if roots().is_empty() {
            return Err("this system has no list of trusted certificates; install ca-certificates".into());
        }
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots().iter().map(|c| c.der().to_vec().into()));
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(store)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
        let mut stream = StreamOwned::new(connection, wire);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|e| {
                let text = e.to_string();
                match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer to the TLS handshake".into(),
                    _ => refused(&text).unwrap_or(format!("no TLS: {text}")),
                }
            })?;
        }
        Ok(stream)
    }

    /// What the system trusts, read once. `SSL_CERT_FILE` names another file, as for OpenSSL.
    fn roots() -> &'static [Certificate<'static>] {
        static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
        ROOTS.get_or_init(|| {
            let own = std::env::var("SSL_CERT_FILE").ok();
            let paths = own.as_deref().into_iter().chain(BUNDLES);
            let roots: Vec<_> = paths.map(read).find(|roots| !roots.is_empty()).unwrap_or_default();
            if roots.is_empty() {
                log::warn!("no trusted certificates are installed (package ca-certificates): nobody can be reached over https");
            }
            roots
        })
    }

    fn read(path: &str) -> Vec<Certificate<'static>> {
        let small = std::fs::metadata(path).is_ok_and(|m| m.len() <= MOST);
        let pem = if small { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        let certificate = |item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        };
        parse_pem(&pem).filter_map(certificate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_said_plainly() {
        let said = refused("rustls: invalid peer certificate: Expired").unwrap();
        assert!(said.contains("is this box's clock right?"), "{said}");
        assert!(refused("invalid peer certificate: UnknownIssuer").unwrap().contains("trusts"));
        assert_eq!(refused("connection reset"), None);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_is_no_tls_is_an_error_and_no_panic() {
        use std::io::Write;
        use std::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        other.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Without certificates on this system it is an error already.
        assert!(connect(tcp, "localhost").is_err());
    }
}
