//! Tables of the specification's forms, and properties over all of them.

use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn written(version: ProxyVersion, addresses: &Addresses) -> Vec<u8> {
    let mut out = Vec::new();
    write(version, addresses, &mut out);
    out
}

/// A header of version 2 with these bytes behind the fixed part.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

const BLOCK: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

fn block_and(tlvs: &[u8]) -> Vec<u8> {
    [&BLOCK[..], tlvs].concat()
}

#[test]
fn a_line_of_version_1_says_who_connects() {
    let rows: [(&str, Option<(&str, &str)>); 6] = [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            Some(("192.0.2.1:56324", "198.51.100.2:443")),
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n",
            Some(("[2001:db8::1]:0", "[2001:db8::2]:65535")),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n",
            Some(("192.0.2.1:1", "[2001:db8::2]:2")),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff 1 2 3 what ever\r\n", None),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
            Some((
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535",
            )),
        ),
    ];
    for (line, said) in rows {
        let header = Header {
            length: line.len(),
            addresses: said.map(|(source, destination)| addresses(source, destination)),
        };
        let behind = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(behind.as_bytes()), Ok(Some(header)), "{line}");
    }
}

#[test]
fn what_is_no_line_of_version_1_is_refused() {
    for line in [
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
        "PROXY TCP4 ::1 198.51.100.2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1\n198.51.100.2 1 2\r\n",
    ] {
        let found = parse(line.as_bytes());
        let refused = matches!(found, Err(Fault::Malformed(_) | Fault::Missing));
        assert!(refused, "{line:?}: {found:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(None));
    assert!(matches!(
        parse(endless.as_bytes()),
        Err(Fault::Malformed(_))
    ));
}

#[test]
fn a_header_of_version_2_says_who_connects_or_that_nobody_is_told_of() {
    let said = Some(addresses("192.0.2.1:56324", "198.51.100.2:443"));
    let six = {
        let ip: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&ip.octets()[..], &ip.octets(), &[0, 1, 0, 2]].concat()
    };
    let noop = [4, 0, 2, 9, 9];
    for (bytes, wanted) in [
        (v2(0x21, 0x11, &BLOCK), said),
        (v2(0x21, 0x11, &block_and(&noop)), said),
        (
            v2(0x21, 0x21, &six),
            Some(addresses("[2001:db8::1]:1", "[2001:db8::1]:2")),
        ),
        // LOCAL, and whatever stands in it.
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, &BLOCK), None),
        (v2(0x20, 0x11, &[1, 2, 3]), None),
        // UNSPEC, datagrams, Unix sockets.
        (v2(0x21, 0x00, &[]), None),
        (v2(0x21, 0x00, &noop), None),
        (v2(0x21, 0x12, &BLOCK), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
    ] {
        let header = Header {
            length: bytes.len(),
            addresses: wanted,
        };
        let behind = [&bytes[..], b"more"].concat();
        assert_eq!(parse(&behind), Ok(Some(header)), "{bytes:x?}");
    }
}

#[test]
fn what_is_no_header_of_version_2_is_refused() {
    for bytes in [
        v2(0x11, 0x11, &BLOCK),
        v2(0x22, 0x11, &BLOCK),
        v2(0x21, 0x41, &BLOCK),
        v2(0x21, 0x13, &BLOCK),
        v2(0x21, 0x11, &BLOCK[..11]),
        v2(0x21, 0x21, &BLOCK),
        v2(0x21, 0x31, &[0; 215]),
        // TLVs that do not fit.
        v2(0x21, 0x11, &block_and(&[4])),
        v2(0x21, 0x11, &block_and(&[4, 0])),
        v2(0x21, 0x11, &block_and(&[4, 0, 1])),
        v2(0x21, 0x11, &block_and(&[4, 0xff, 0xff, 0])),
        v2(0x21, 0x11, &block_and(&[3, 0, 3, 0, 0, 0])),
    ] {
        let found = parse(&bytes);
        assert!(matches!(found, Err(Fault::Malformed(_))), "{bytes:x?}");
    }
    let long = v2(0x21, 0x11, &[0; MAX_HEADER]);
    assert_eq!(parse(&long), Err(Fault::TooLong));
    // Told by the length alone: nothing of the rest has to come.
    assert_eq!(parse(&long[..16]), Err(Fault::TooLong));
    let longest = [&BLOCK[..], &[4, 0x0f, 0xe1], &[0; 4065]].concat();
    assert!(parse(&v2(0x21, 0x11, &longest)).is_ok_and(|header| header.is_some()));
}

#[test]
fn what_begins_with_anything_else_is_told_at_its_first_byte() {
    for bytes in [
        &b"G"[..],
        b"PROXX",
        b"proxy ",
        b"\r\n\r\n\0\r\nQUIX",
        b"\x16\x03\x01",
    ] {
        assert_eq!(parse(bytes), Err(Fault::Missing), "{bytes:?}");
    }
    for bytes in [
        &b""[..],
        b"P",
        b"PROXY",
        b"PROXY TCP4 ",
        b"\r\n",
        v2::SIGNATURE,
    ] {
        assert_eq!(parse(bytes), Ok(None), "{bytes:?}");
    }
}

#[test]
fn a_checksum_is_checked_where_there_is_one() {
    let mut bytes = v2(0x21, 0x11, &block_and(&[3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 7]));
    // Over the whole header, the checksum itself as zero.
    let sum = crc32c::crc32c(&bytes);
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert!(parse(&bytes).is_ok_and(|header| header.is_some()));
    for at in [16, at, bytes.len() - 1] {
        let mut broken = bytes.clone();
        broken[at] ^= 1;
        assert_eq!(parse(&broken), Err(Fault::Checksum), "byte {at}");
    }
    // The check value of CRC-32C (Castagnoli), as in RFC 3720 appendix B.4.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
}

#[test]
fn addresses_of_two_families_are_written_in_the_wider_one() {
    let mixed = addresses("192.0.2.1:1", "[2001:db8::2]:2");
    assert_eq!(
        String::from_utf8(written(ProxyVersion::V1, &mixed)).unwrap(),
        "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"
    );
    let plain = addresses("192.0.2.1:56324", "198.51.100.2:443");
    assert_eq!(
        written(ProxyVersion::V1, &plain),
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
    );
    assert_eq!(written(ProxyVersion::V2, &plain), v2(0x21, 0x11, &BLOCK));
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ];
    // An IPv4 address is told as such, however it was written.
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

proptest! {
    #[test]
    fn what_is_written_is_read_at_any_cut(
        source in any_address(),
        destination in any_address(),
        second in any::<bool>(),
        behind in proptest::collection::vec(any::<u8>(), 0..32),
    ) {
        let told = Addresses { source, destination };
        let version = if second { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let mut bytes = written(version, &told);
        let length = bytes.len();
        bytes.extend_from_slice(&behind);
        for cut in 0..length {
            prop_assert_eq!(parse(&bytes[..cut]), Ok(None));
        }
        let whole = Header { length, addresses: Some(told) };
        prop_assert_eq!(parse(&bytes), Ok(Some(whole)));
    }

    #[test]
    fn a_decision_once_made_stands_whatever_follows(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        signed in any::<bool>(),
        cut in 0..64usize,
    ) {
        let bytes = if signed { [v2::SIGNATURE, &bytes].concat() } else { bytes };
        let early = parse(&bytes[..cut.min(bytes.len())]);
        if early != Ok(None) {
            prop_assert_eq!(parse(&bytes), early);
        }
    }
}
