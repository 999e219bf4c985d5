//! The reader of a TLS client's first message against any bytes, and against rustls: where rustls finds a
//! host, ours finds the same one.

use std::sync::Arc;

use lastcall::proxy::sni::{Hello, MAX_HELLO, parse};
use lastcall_fuzz::{Choices, Shown, fuzz, message_with};
use rustls::server::Acceptor;

const PIECES: &[&[u8]] = &[
    b"\x16\x03\x01",
    b"\x16\x03\x03\0\x01",
    b"\x01\0\0",
    b"\0\0",
    b"\0\0\0\x05\0\x03\0\0\0",
    b"\0\x0d",
    b"\xff\xff",
    b"\x40\0",
    b"a",
    b".example.com",
    b"\0",
    b"\x17\x03\x03",
];

fn hello(host: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = host.to_owned().try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a first message");
    bytes
}

/// The same message in records of so many bytes.
fn in_records(record: &[u8], most: usize) -> Vec<u8> {
    let pieces = record[5..].chunks(most);
    pieces
        .flat_map(|piece| {
            let length = u16::try_from(piece.len()).expect("short").to_be_bytes();
            [&[22, 3, 1][..], &length, piece].concat()
        })
        .collect()
}

fn seeds() -> Vec<Vec<u8>> {
    let named = hello("shop.example.com");
    let pieces = in_records(&named, 70);
    vec![named, hello("127.0.0.1"), pieces]
}

#[test]
fn any_bytes_are_read_in_bounds_and_as_rustls_reads_them() {
    let seeds = seeds();
    fuzz!(256, 300_000, |choices: &mut Choices<'_>| {
        let input = message_with(choices, &seeds, PIECES);
        let _shown = Shown(&input);
        check_input(&input, choices.below(input.len() + 1));
    });
}

fn check_input(input: &[u8], cut: usize) {
    let whole = parse(input);
    let early = parse(&input[..cut]);
    if early != Ok(None) {
        assert_eq!(whole, early, "decided after {cut} bytes");
    }
    assert!(whole != Ok(None) || input.len() < 2 * MAX_HELLO);
    let Some(accepted) = by_rustls(input) else {
        return;
    };
    // It may be refused where rustls is more lenient, but no other host is found.
    if let Ok(found) = whole {
        assert_eq!(found, Some(accepted));
    }
}

/// What rustls reads, if it accepts the message.
fn by_rustls(input: &[u8]) -> Option<Hello> {
    let mut acceptor = Acceptor::default();
    let mut rest = input;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let host = hello
                .server_name()
                .map(|name| name.to_ascii_lowercase().into());
            return Some(Hello { host });
        }
    }
    None
}
