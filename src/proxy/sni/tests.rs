//! First messages that rustls writes, and such that no library does.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::*;

/// What rustls sends first when it asks for `host`.
fn hello_for(host: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn vector16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], content].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector16(data)].concat()
}

/// The extension that names a host.
fn names(name: &[u8]) -> Vec<u8> {
    let entry = [&[HOST_NAME][..], &vector16(name)].concat();
    extension(SERVER_NAME, &vector16(&entry))
}

/// A handshake message with these extensions; without any list of them where there is none.
fn handshake(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.push(0);
    body.extend_from_slice(&[0, 2, 0x13, 0x01, 1, 0]);
    if let Some(extensions) = extensions {
        body.extend_from_slice(&vector16(extensions));
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], &body].concat()
}

/// The message in records of at most `most` bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [vec![HANDSHAKE, 3, 1], vector16(piece)].concat();
    message.chunks(most).flat_map(record).collect()
}

fn host_of(extensions: &[u8]) -> Result<Option<Box<str>>, Fault> {
    let bytes = records(&handshake(Some(extensions)), 1 << 14);
    parse(&bytes).map(|hello| hello.expect("it is whole").host)
}

#[test]
fn the_host_is_found_at_the_very_byte_that_makes_the_message_whole() {
    let bytes = hello_for("Shop.Example.com");
    let found = Hello {
        host: Some("shop.example.com".into()),
    };
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Ok(None), "after {cut} bytes");
    }
    assert_eq!(parse(&bytes), Ok(Some(found.clone())));
    let behind = [&bytes[..], b"\x14\x03\x03\x00\x01\x01"].concat();
    assert_eq!(parse(&behind), Ok(Some(found)));
}

#[test]
fn a_message_in_many_records_is_put_together() {
    let message = handshake(Some(&names(b"a.example.com")));
    for most in [1, 2, 3, 4, 5, 40, 80] {
        let bytes = records(&message, most);
        let hello = parse(&bytes).unwrap().expect("whole");
        assert_eq!(hello.host.as_deref(), Some("a.example.com"), "{most}");
        assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(None), "{most}");
    }
}

#[test]
fn a_client_may_name_no_host() {
    let none = Hello { host: None };
    let bytes = records(&handshake(None), 1 << 14);
    assert_eq!(parse(&bytes), Ok(Some(none.clone())));
    assert_eq!(host_of(&[]), Ok(None));
    assert_eq!(host_of(&extension(0x2b, &[2, 3, 4])), Ok(None));
    // An address is no host name, and so rustls names none.
    assert_eq!(parse(&hello_for("127.0.0.1")), Ok(Some(none)));
}

#[test]
fn two_readers_cannot_find_two_hosts() {
    let twice = [names(b"a"), names(b"b")].concat();
    assert!(matches!(host_of(&twice), Err(Fault::Malformed(_))));
    let entry = |kind: u8, name: &[u8]| [&[kind][..], &vector16(name)].concat();
    let two = [entry(0, b"a"), entry(0, b"b")].concat();
    for list in [
        two,
        entry(1, b"a"),
        vec![],
        entry(0, b""),
        entry(0, b"a b"),
        entry(0, b"a\0.example.com"),
        entry(0, "ä.example.com".as_bytes()),
        entry(0, &[b'a'; 256]),
    ] {
        let found = host_of(&extension(SERVER_NAME, &vector16(&list)));
        assert!(matches!(found, Err(Fault::Malformed(_))), "{list:?}");
    }
    let behind = [vector16(&entry(0, b"a")), vec![0]].concat();
    let found = host_of(&extension(SERVER_NAME, &behind));
    assert!(matches!(found, Err(Fault::Malformed(_))));
}

#[test]
fn what_is_no_first_message_is_refused_at_once() {
    for bytes in [
        &b"GET / HTTP/1.1"[..],
        b"\x80\x2e\x01",
        b"\x16\x02",
        b"\x17\x03\x03",
        b"\0",
    ] {
        assert_eq!(parse(bytes), Err(Fault::NotTls), "{bytes:?}");
    }
    for bytes in [
        &b"\x16\x03\x01\x00\x00"[..],
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x04\x02",
    ] {
        assert!(
            matches!(parse(bytes), Err(Fault::Malformed(_))),
            "{bytes:?}"
        );
    }
    assert_eq!(
        parse(b"\x16\x03\x01\x00\x04\x01\x00\x3f\xfd"),
        Err(Fault::TooLong)
    );
    assert_eq!(parse(b"\x16\x03\x01\x00\x04\x01\x00\x3f\xfc"), Ok(None));
    let mut short = handshake(Some(&names(b"a")));
    short.pop();
    short[3] -= 1;
    assert!(matches!(
        parse(&records(&short, 1 << 14)),
        Err(Fault::Malformed(_))
    ));
}

proptest! {
    #[test]
    fn a_decision_once_made_stands_whatever_follows(
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        most in 1..200usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = records(&handshake(Some(&names(b"shop.example.com"))), most);
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let early = parse(&bytes[..cut.index(bytes.len())]);
        if early != Ok(None) {
            prop_assert_eq!(parse(&bytes), early);
        }
    }
}
