//! Whom the clients believe where they speak TLS, and what lastcall, or an app in its place, shows them. Used by every
//! test in TLS, of whichever protocol.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::drivers::App;
use crate::support::Config;
use crate::support::tls::{Authority, Issued};

/// An authority whose certificate is in a file, and what it has issued.
pub struct Trust {
    folder: TempDir,
    own: Issued,
}

impl Trust {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let own = authority.issue(&["127.0.0.1"]);
        for (name, text) in [
            ("ca", &authority.pem),
            ("chain", &own.chain),
            ("key", &own.key),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, own }
    }

    /// Where a file of it is.
    pub fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.into_os_string().into_string().unwrap()
    }

    /// Lastcall with its certificate.
    pub fn before(&self, endpoints: &[SocketAddr]) -> Config {
        Config::new(endpoints)
            .listener("protocol: HTTPS, tls: {certificateRefs: [{name: own}]}")
            .secret("own/tls.crt", &self.own.chain)
            .secret("own/tls.key", &self.own.key)
    }

    /// An app with its certificate.
    pub fn app(&self, flags: &[&str]) -> App {
        let files = [self.file("chain"), self.file("key")];
        App::start(&[&["--tls", &files[0], &files[1]], flags].concat())
    }
}
