//! The PROXY protocol's reader against any bytes.

use lastcall::model::ProxyVersion;
use lastcall::proxy::proxy_protocol::{Addresses, Fault, MAX_HEADER, parse, write};
use lastcall_fuzz::{Choices, Shown, fuzz, message_with};

const PIECES: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"192.0.2.1 ",
    b"2001:db8::1 ",
    b"::ffff:192.0.2.1 ",
    b"65535",
    b"0",
    b" ",
    b"\r\n",
    b"\r",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x20",
    b"\x21",
    b"\x11",
    b"\x21\0\x24",
    b"\x31\0\xd8",
    b"\0\x0c",
    b"\x03\0\x04",
    b"\x04\0\0",
    b"\xff\xff",
];

fn seeds() -> Vec<Vec<u8>> {
    let told = |source: &str, destination: &str| Addresses {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    };
    let mut seeds = vec![b"PROXY UNKNOWN\r\n".to_vec()];
    for addresses in [
        told("192.0.2.1:56324", "198.51.100.2:443"),
        told("[2001:db8::1]:1", "[2001:db8::2]:65535"),
    ] {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut bytes = Vec::new();
            write(version, &addresses, &mut bytes);
            seeds.push(bytes);
        }
    }
    seeds
}

#[test]
fn any_bytes_are_a_header_or_are_not_and_what_follows_changes_nothing() {
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
    let Ok(Some(header)) = whole else {
        // No more than that is ever waited for.
        assert!(whole != Ok(None) || input.len() < MAX_HEADER);
        return;
    };
    assert!(header.length <= input.len().min(MAX_HEADER));
    assert_eq!(parse(&input[..header.length]), whole);
    assert_eq!(parse(&input[..header.length - 1]), Ok(None));
    if let Some(addresses) = header.addresses {
        // What is passed on is what was said.
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut again = Vec::new();
            write(version, &addresses, &mut again);
            let read = parse(&again).map(|read| read.and_then(|read| read.addresses));
            assert_eq!(read, Ok::<_, Fault>(Some(addresses)));
        }
    }
}
