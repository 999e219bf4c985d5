//! Where a redirect leads. Used where a destination is looked for.

use crate::model::{Redirect, Scheme};

/// What a client asked for, in the parts of a URI.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What the client's connection speaks.
    pub scheme: Scheme,
    /// The host without its port, an IPv6 address in brackets; empty where the request names none.
    pub host: &'a str,
    /// The port that the client named.
    pub port: Option<u16>,
    /// The path, at least `/`, or `*`.
    pub path: &'a [u8],
    /// What follows its `?`.
    pub query: &'a [u8],
}

/// The value of `Location`. `prefix` bytes of the path were matched by the route.
///
/// Every part of it was checked, by the codec or by the door: it is one line, and what a client puts into a
/// path leads to no other host.
pub fn location(redirect: &Redirect, prefix: usize, asked: &Origin<'_>) -> String {
    let scheme = redirect.scheme.unwrap_or(asked.scheme);
    let host = redirect.hostname.as_deref().unwrap_or(asked.host);
    // A scheme that is named has its own port, or a redirect from port 8080 to https would lead nowhere.
    let asked_port = asked.port.filter(|_| redirect.scheme.is_none());
    let port = redirect.port.or(asked_port);
    let mut to = String::new();
    if !host.is_empty() {
        to.push_str(scheme.as_str());
        to.push_str("://");
        to.push_str(host);
        if let Some(port) = port.filter(|port| *port != scheme.port()) {
            to.push(':');
            to.push_str(&port.to_string());
        }
    }
    let pieces = match &redirect.path {
        Some(change) => change.of(asked.path, prefix),
        None => [asked.path, b""],
    };
    let path = pieces.concat();
    match path.as_slice() {
        b"*" => to.push('/'),
        // Without a host before it, what follows two slashes would be taken for one (RFC 3986 section 4.2;
        // browsers read a backslash as one of them).
        [b'/', b'/' | b'\\', ..] if host.is_empty() => to.push_str("/."),
        _ => {}
    }
    if path != b"*" {
        to.push_str(&String::from_utf8_lossy(&path));
    }
    if !asked.query.is_empty() {
        to.push('?');
        to.push_str(&String::from_utf8_lossy(asked.query));
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PathChange;

    fn redirect() -> Redirect {
        Redirect {
            scheme: None,
            hostname: None,
            port: None,
            path: None,
            status: 302,
        }
    }

    #[test]
    fn each_part_is_the_redirects_or_as_it_was_asked() {
        let https = Some(Scheme::Https);
        let hostname = Some("b.c".into());
        let rows = [
            (
                Redirect {
                    scheme: https,
                    ..redirect()
                },
                "https://a.b/x/y?q=1",
            ),
            (
                Redirect {
                    scheme: https,
                    port: Some(443),
                    ..redirect()
                },
                "https://a.b/x/y?q=1",
            ),
            (
                Redirect {
                    scheme: https,
                    port: Some(8443),
                    ..redirect()
                },
                "https://a.b:8443/x/y?q=1",
            ),
            (
                Redirect {
                    hostname: hostname.clone(),
                    ..redirect()
                },
                "http://b.c:8080/x/y?q=1",
            ),
            (
                Redirect {
                    hostname: hostname.clone(),
                    port: Some(80),
                    ..redirect()
                },
                "http://b.c/x/y?q=1",
            ),
            (
                Redirect {
                    path: Some(PathChange::Full("/n".into())),
                    ..redirect()
                },
                "http://a.b:8080/n?q=1",
            ),
            (
                Redirect {
                    path: Some(PathChange::prefix("/n/")),
                    ..redirect()
                },
                "http://a.b:8080/n/y?q=1",
            ),
        ];
        let asked = Origin {
            scheme: Scheme::Http,
            host: "a.b",
            port: Some(8080),
            path: b"/x/y",
            query: b"q=1",
        };
        for (redirect, expected) in rows {
            assert_eq!(location(&redirect, 2, &asked), expected);
        }
    }

    #[test]
    fn a_client_that_names_no_host_is_led_to_none_of_its_own() {
        let to = |path: &str| {
            let asked = Origin {
                scheme: Scheme::Http,
                host: "",
                port: None,
                path: path.as_bytes(),
                query: b"",
            };
            let redirect = Redirect {
                path: Some(PathChange::prefix("/")),
                ..redirect()
            };
            location(&redirect, 0, &asked)
        };
        assert_eq!(to("/x"), "/x");
        assert_eq!(to("//evil.example"), "/.//evil.example");
        assert_eq!(to("/\\evil.example"), "/./\\evil.example");
        assert_eq!(to("*"), "/");
    }
}
