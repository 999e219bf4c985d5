//! Certificates that change, break and come while a listener is served, and sessions that outlive them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::LIMIT;
use crate::support::backend::ok;
use crate::support::config::Folder;
use crate::support::tls::{Authority, ClientSetup, Understands};
use crate::support::{Backend, Config, Lastcall, wait_until};
use crate::tls_listener::{HANDSHAKES_FULL, HANDSHAKES_RESUMED, https, with};

#[test]
fn sessions_are_resumed_on_any_worker_and_over_a_change_of_the_certificate() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let backend = Backend::echo();
        let authority = Authority::new();
        let (first, second) = (
            authority.issue(&["shop.test"]),
            authority.issue(&["shop.test"]),
        );
        let config = https(&backend, &[("shop", &first)], "");
        let mut lastcall = Lastcall::start(config.clone());
        let understands = Understands {
            version: Some(version),
            signatures: None,
        };
        let setup = ClientSetup::with(&authority, understands, None);
        let get = |setup: &ClientSetup| {
            let (answer, client) = setup.get(lastcall.address, "shop.test", "/").unwrap();
            assert_eq!(answer.status(), 200);
            client
        };
        assert!(!get(&setup).resumed());
        // Connections are spread over two workers; each takes what the other has issued.
        for _ in 0..8 {
            assert!(get(&setup).resumed());
        }
        assert_eq!(lastcall.count(HANDSHAKES_FULL), Some(1));
        assert_eq!(lastcall.count(HANDSHAKES_RESUMED), Some(8));

        lastcall.reload(with(config, "shop", &second));
        let address = lastcall.address;
        wait_until("the new certificate", LIMIT, || {
            let fresh = ClientSetup::new(&authority);
            let (_, client) = fresh.get(address, "shop.test", "/").unwrap();
            if client.shown() == second.der() {
                Ok(())
            } else {
                Err("the old one")
            }
        });
        let (_, client) = setup.get(address, "shop.test", "/").unwrap();
        assert!(client.resumed(), "after the reload");
    }
}

#[test]
fn a_new_certificate_under_traffic_loses_no_request_and_no_connection() {
    let backend = Backend::start(|seen| ok(seen.target()));
    let authority = Authority::new();
    let mut own = authority.issue(&["shop.test"]);
    let config = https(&backend, &[("shop", &own)], "");
    let mut lastcall = Lastcall::start(config.clone());
    let address = lastcall.address;
    let (stop, failed, asked) = <(Arc<AtomicBool>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
    let setup = ClientSetup::new(&authority);
    let clients: Vec<_> = (0..4)
        .map(|which| {
            let (stop, failed, asked) = (stop.clone(), failed.clone(), asked.clone());
            let setup = setup.clone();
            std::thread::spawn(move || {
                let mut kept = setup.connect(address, "shop.test").unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let path = format!("/{which}/{}", asked.fetch_add(1, Ordering::SeqCst));
                    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
                    // One over the connection that was there before every change, one over a new one.
                    let old = kept.ask(&request).is_ok_and(|got| got.body_text() == path);
                    let new = setup
                        .get(address, "shop.test", &path)
                        .is_ok_and(|(got, _)| got.body_text() == path);
                    failed.fetch_add(u32::from(!old) + u32::from(!new), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        own = authority.issue(&["shop.test"]);
        lastcall.reload(with(config.clone(), "shop", &own));
        wait_until("the new certificate", LIMIT, || {
            let fresh = ClientSetup::new(&authority);
            let client = fresh.connect(address, "shop.test").unwrap();
            if client.shown() == own.der() {
                Ok(())
            } else {
                Err("the old one")
            }
        });
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > 20, "{asked} requests are no traffic");
    assert_eq!(failed.load(Ordering::SeqCst), 0, "of {asked}");
}

#[test]
fn a_broken_certificate_keeps_the_last_good_one_and_is_told() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let (own, other) = (
        authority.issue(&["shop.test"]),
        authority.issue(&["shop.test"]),
    );
    let config = https(&backend, &[("shop", &own)], "");
    let mut lastcall = Lastcall::start(config.clone());
    // The key of another certificate.
    lastcall.reload(config.clone().secret("shop/tls.key", &other.key));
    let says = "tls.key is not the key of the certificate in tls.crt; what it held before goes on";
    wait_until("to be told", LIMIT, || {
        let log = lastcall.log();
        if log.contains(says) { Ok(()) } else { Err(log) }
    });
    let log = lastcall.log();
    assert!(
        log.contains("spec.listeners[0].tls.certificateRefs[0].name"),
        "{log}"
    );
    for line in own
        .key
        .lines()
        .chain(other.key.lines())
        .filter(|line| line.len() > 30)
    {
        assert!(!log.contains(line), "a key in the log");
    }
    let (_, client) = ClientSetup::new(&authority)
        .get(lastcall.address, "shop.test", "/")
        .unwrap();
    assert_eq!(client.shown(), own.der());
    let status = lastcall.cli(&["status", "--output", "json"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.contains(says) && !status.contains("PRIVATE"),
        "{status}"
    );
    // Mended.
    lastcall.reload(with(config, "shop", &other));
    let address = lastcall.address;
    wait_until("the new certificate", LIMIT, || {
        let (_, client) = ClientSetup::new(&authority)
            .get(address, "shop.test", "/")
            .unwrap();
        if client.shown() == other.der() {
            Ok(())
        } else {
            Err("the old one")
        }
    });
}

#[test]
fn a_listener_without_a_certificate_is_not_served_until_it_has_one() {
    let backend = Backend::echo();
    let authority = Authority::new();
    let own = authority.issue(&["shop.test"]);
    let config = Config::new(&[backend.address])
        .listener("protocol: HTTPS, tls: {certificateRefs: [{name: shop}]}");
    let mut lastcall = Lastcall::start(config.clone());
    std::net::TcpStream::connect(lastcall.address).unwrap_err();
    wait_until("to be told why", LIMIT, || {
        let log = lastcall.log();
        if log.contains("there is no folder shop") {
            Ok(())
        } else {
            Err(log)
        }
    });
    lastcall.reload(with(config, "shop", &own));
    let address = lastcall.address;
    wait_until("the listener", LIMIT, || {
        ClientSetup::new(&authority)
            .get(address, "shop.test", "/")
            .map(|_| ())
            .map_err(|error| error.kind())
    });
}

#[test]
fn a_folder_is_checked_with_its_certificates() {
    let backend = Backend::echo();
    let (own, other) = {
        let authority = Authority::new();
        (
            authority.issue(&["shop.test"]),
            authority.issue(&["shop.test"]),
        )
    };
    let config = https(&backend, &[("shop", &own)], "");
    for (config, says) in [
        (config.clone(), None),
        (
            config.secret("shop/tls.key", &other.key),
            Some("tls.key is not the key of the certificate in tls.crt"),
        ),
    ] {
        let folder = Folder::new();
        config.write_into(&folder);
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_lastcall"))
            .args(["standalone", "--check", "--config"])
            .arg(folder.config())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.success(), says.is_none(), "{said}");
        assert!(said.contains(says.unwrap_or_default()), "{said}");
    }
}
