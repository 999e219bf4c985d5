//! What a route does with its requests beside sending them somewhere, as plain values. Checked by `plan`,
//! applied by `proxy`.

use std::time::Duration;

use super::snapshot::WeightedBackend;

/// The filters of one route; what is absent is not done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    /// Changes to the request's fields, before an endpoint gets them.
    pub request: Option<FieldEdits>,
    /// Changes to the fields of an endpoint's final response, before the client gets them.
    pub response: Option<FieldEdits>,
    /// The request is answered with a redirect, and no endpoint is asked.
    pub redirect: Option<Redirect>,
    /// Changes to the request's host and path, before an endpoint gets them.
    pub rewrite: Option<Rewrite>,
    /// How many requests it takes.
    pub rate_limit: Option<RateLimit>,
    /// Where copies of them go.
    pub mirror: Option<Mirror>,
}

/// Where copies of a route's requests go.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Which Backend; its weight says nothing.
    pub backend: WeightedBackend,
    /// How many of a hundred requests are copied.
    pub percent: u8,
}

/// How many requests are taken, in one process; those that come too soon get 429.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many in each `interval`, at least one.
    pub requests: u32,
    /// See `requests`; at most an hour.
    pub interval: Duration,
    /// So many may come at once, after a time without any; at least one, at most a million.
    pub burst: u32,
    /// What is counted apart.
    pub per: LimitPer,
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitPer {
    /// Each client: an IPv4 address, or a network of 64 bits in IPv6.
    Client,
    /// Nothing: all requests of the route are counted together.
    Route,
}

/// Changes to the fields of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Names, in lower case, of which no field that came passes: those that are set, and those that are
    /// removed.
    pub dropped: Vec<Box<str>>,
    /// Names and values of the fields that are written.
    pub written: Vec<(Box<str>, Box<str>)>,
}

impl FieldEdits {
    /// Whether a field of this name, in any case, does not pass.
    pub fn drops(&self, name: &[u8]) -> bool {
        let mut dropped = self.dropped.iter();
        dropped.any(|one| one.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`; as it was asked where absent.
    pub scheme: Option<Scheme>,
    /// As it was asked where absent.
    pub hostname: Option<Box<str>>,
    /// Where absent: the scheme's own if `scheme` is there, otherwise as it was asked.
    pub port: Option<u16>,
    /// As it was asked where absent. The query stays.
    pub path: Option<PathChange>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// What endpoints are to take for the host and the path that were asked for. What they are told of the client
/// (X-Forwarded-Host and the like) says what it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// `Host`.
    pub hostname: Option<Box<str>>,
    /// The path. The query stays.
    pub path: Option<PathChange>,
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is the scheme of that name.
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// As it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is named.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It is this.
    Full(Box<str>),
    /// The prefix that the route matched is replaced by this, which has no slash at its end; empty takes the
    /// prefix away.
    Prefix(Box<str>),
}

impl PathChange {
    /// `ReplacePrefixMatch` with this value: `/v1` and `/v1/` are the same, `/` takes the prefix away.
    pub fn prefix(value: &str) -> Self {
        Self::Prefix(value.trim_end_matches('/').into())
    }

    /// The changed path, in two pieces to be written one after the other, together at least `/`. `path` is the
    /// one that was asked for, without query, of which the first `prefix` bytes were matched: whole segments,
    /// so what is left is empty or begins with a slash.
    pub fn of<'a>(&'a self, path: &'a [u8], prefix: usize) -> [&'a [u8]; 2] {
        // `*`, which means the server as a whole, has no path to change.
        if !path.starts_with(b"/") {
            return [path, b""];
        }
        match self {
            Self::Full(full) => [full.as_bytes(), b""],
            Self::Prefix(new) => match (new.as_bytes(), path.get(prefix..).unwrap_or_default()) {
                ([], []) => [b"/", b""],
                (new, rest) => [new, rest],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gateway API's table for `replacePrefixMatch`, and what it leaves out.
    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        for (path, matched, value, changed) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "", "/xyz", "/xyz/foo/bar"),
            ("/", "", "/xyz", "/xyz/"),
            ("/", "", "/", "/"),
            ("/foo//bar", "/foo", "/", "//bar"),
            ("*", "", "/xyz", "*"),
        ] {
            let pieces = PathChange::prefix(value);
            let pieces = pieces.of(path.as_bytes(), matched.len()).concat();
            let found = String::from_utf8(pieces).unwrap();
            assert_eq!(found, changed, "{path} {matched} {value}");
        }
    }

    #[test]
    fn a_whole_path_is_replaced() {
        let full = PathChange::Full("/new".into());
        assert_eq!(full.of(b"/foo/bar", 4).concat(), b"/new");
        assert_eq!(full.of(b"*", 0).concat(), b"*");
    }
}
