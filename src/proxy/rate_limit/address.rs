//! Which client a request comes from, where proxies that are trusted stand before us.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::proxy::http1::{Field, Known};

/// The client's address: the peer's, unless that is a trusted proxy; then the last in `X-Forwarded-For` that
/// is none. What stands before that anybody may have written.
pub fn client_address(peer: IpAddr, trusted: &[IpNet], buf: &[u8], fields: &[Field]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer;
    let named = fields
        .iter()
        .rev()
        .filter(|field| field.known == Known::XForwardedFor)
        .flat_map(|field| field.value.of(buf).rsplit(|b| *b == b','));
    for entry in named {
        if !is_trusted(&client) {
            break;
        }
        // A proxy that says something else than an address does not say who the client is.
        let Some(address) = address(entry.trim_ascii()) else {
            break;
        };
        client = address;
    }
    client
}

/// An address; some proxies name the port as well.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let alone = text.parse::<IpAddr>().ok();
    let address = alone.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Limits;
    use crate::proxy::http1::{HeadLimits, parse_request};

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|net| net.parse().unwrap())
            .collect();
        for (peer, fields, client) in [
            ("192.0.2.1", "", "192.0.2.1"),
            ("192.0.2.1", "X-Forwarded-For: 6.6.6.6\r\n", "192.0.2.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            (
                "10.0.0.1",
                "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n",
                "192.0.2.7",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 192.0.2.7,10.0.0.2\r\n",
                "192.0.2.7",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nx-forwarded-for: fd00::1\r\n",
                "192.0.2.7",
            ),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.7:81\r\n", "192.0.2.7"),
            (
                "10.0.0.1",
                "X-Forwarded-For: [2001:db8::1]:81\r\n",
                "2001:db8::1",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: ::ffff:10.0.0.2\r\n",
                "10.0.0.2",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 6.6.6.6, unknown\r\n",
                "10.0.0.1",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n",
                "10.0.0.3",
            ),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut parsed = Vec::new();
            let limits = HeadLimits::from(&Limits::default());
            parse_request(text.as_bytes(), &limits, &mut parsed).unwrap();
            let found = client_address(peer.parse().unwrap(), &trusted, text.as_bytes(), &parsed);
            assert_eq!(found.to_string(), client, "{peer} {fields:?}");
        }
    }
}
