//! The key of a request or a connection, by which a Backend with policy Hash has its endpoint. Pure: asked where a
//! destination is looked for, while the request's head is there.

use std::net::IpAddr;

use super::balance::hash;
use super::destination::Request;
use super::rate_limit::client_address;
use super::worker::Site;
use crate::model::{HashBy, Policy, WeightedBackend};

/// The key of a request for this Backend; 0 where the Backend has no use for one.
pub(super) fn of_request(site: &Site, backend: &WeightedBackend, request: &Request<'_>) -> u64 {
    let Policy::Hash(by) = &site.snapshot.backends[backend.backend].policy else {
        return 0;
    };
    let named = match by {
        HashBy::Header(name) => field(name.as_bytes(), request),
        HashBy::Cookie(name) => cookie(name.as_bytes(), request),
        HashBy::Source => None,
    };
    if let Some(value) = named {
        return hash(value);
    }
    let trusted = &site.load_balancer().trusted_proxies;
    of_address(client_address(
        request.peer,
        trusted,
        request.buf,
        request.fields,
    ))
}

/// The key of whatever comes from there.
pub(super) fn of_address(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// The first field of this name; one that says nothing is none.
fn field<'a>(name: &[u8], request: &Request<'a>) -> Option<&'a [u8]> {
    let mut values = fields(name, request);
    values.next().filter(|value| !value.is_empty())
}

/// The first cookie of this name (RFC 6265 section 4.2.1); one that says nothing is none.
fn cookie<'a>(name: &[u8], request: &Request<'a>) -> Option<&'a [u8]> {
    let pairs = fields(b"cookie", request).flat_map(|value| value.split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value)
    });
    values.next().filter(|value| !value.is_empty())
}

fn fields<'a>(name: &[u8], request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
    let (all, buf) = (request.fields, request.buf);
    all.iter()
        .filter(move |field| field.name.of(buf).eq_ignore_ascii_case(name))
        .map(move |field| field.value.of(buf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Limits;
    use crate::proxy::http1::{ClientFields, HeadLimits, parse_request};

    /// What a field and a cookie called `id` say in this head.
    fn named(lines: &str) -> [Option<String>; 2] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut parsed = Vec::new();
        let limits = HeadLimits::from(&Limits::default());
        let found = parse_request(text.as_bytes(), &limits, &mut parsed).unwrap();
        let peer = "192.0.2.1".parse().unwrap();
        let request = Request {
            head: &found.unwrap().0,
            buf: text.as_bytes(),
            fields: &parsed,
            client: &ClientFields::new(peer, "http", false),
            peer,
        };
        [field(b"id", &request), cookie(b"id", &request)]
            .map(|value| value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
    }

    #[test]
    fn a_key_is_the_first_field_or_cookie_of_its_name_that_says_anything() {
        for (lines, field, cookie) in [
            ("", None, None),
            ("Id: 7\r\n", Some("7"), None),
            ("iD: 7\r\nid: 8\r\n", Some("7"), None),
            ("Id:\r\n", None, None),
            ("Cookie: id=7\r\n", None, Some("7")),
            ("Cookie: a=1; id=7; id=8\r\n", None, Some("7")),
            (
                "Cookie: a=1\r\ncookie: b=2;id=\"x y\"\r\n",
                None,
                Some("\"x y\""),
            ),
            ("Cookie: ID=7; xid=8; idx=9; id\r\n", None, None),
            ("Cookie: id=\r\n", None, None),
            ("Cookie: id=a=b\r\n", None, Some("a=b")),
        ] {
            let expected = [field, cookie].map(|value| value.map(str::to_owned));
            assert_eq!(named(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn one_address_is_one_key_however_it_is_written() {
        let key = |text: &str| of_address(text.parse().unwrap());
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8::2"));
    }
}
