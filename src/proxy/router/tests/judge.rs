//! Which route serves a request, by a look at every match of every route: what the router is compared with, here
//! and by its fuzz target. Knows nothing of how the router goes about it.

use std::cmp::Reverse;

use super::model::{HostPattern, Match, NamedPattern, PathPattern, Route, ValuePattern};

/// A request as it is matched: its host in lower case without port, and the rest as it was sent.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Without port, in lower case.
    pub host: &'a str,
    /// Without query.
    pub path: &'a [u8],
    /// Behind the `?`.
    pub query: &'a [u8],
    /// As it was written.
    pub method: &'a [u8],
    /// Names and values.
    pub fields: Vec<(&'a [u8], &'a [u8])>,
}

/// The route that serves the request, as its place.
pub fn best(routes: &[Route], asked: &Facts<'_>) -> Option<usize> {
    let mut all = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        let Some(host_rank) = host_rank(&route.hostnames, asked.host) else {
            continue;
        };
        for one in &route.matches {
            if let Some(rank) = rank(one, asked) {
                all.push(((host_rank, rank, Reverse(at)), at));
            }
        }
    }
    let best = all.into_iter().max_by(|a, b| a.0.cmp(&b.0));
    best.map(|(_, at)| at)
}

fn host_rank(patterns: &[HostPattern], host: &str) -> Option<(u8, usize)> {
    if patterns.is_empty() {
        return Some((0, 0));
    }
    let fitting = patterns.iter().filter(|pattern| pattern.matches(host));
    let ranks = fitting.map(|pattern| match pattern {
        HostPattern::Exact(_) => (2, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
    });
    ranks.max()
}

/// How specific a match is for the request: the greatest is the best. `None` where it does not fit.
fn rank(one: &Match, asked: &Facts<'_>) -> Option<impl Ord + use<>> {
    let path_rank = match &one.path {
        PathPattern::Exact(exact) => (exact.as_bytes() == asked.path).then_some((2, 0)),
        PathPattern::Expression(e) => e.for_worker().is_match(asked.path).then_some((1, 0)),
        PathPattern::Prefix(prefix) => {
            let rest = asked.path.strip_prefix(prefix.as_bytes());
            let covers = prefix.is_empty() || matches!(rest, Some([] | [b'/', ..]));
            covers.then_some((0, prefix.len()))
        }
    }?;
    let header_fits = |pattern: &NamedPattern| {
        let name = pattern.name.as_bytes();
        let mut fields = asked.fields.iter();
        fields.any(|(n, value)| n.eq_ignore_ascii_case(name) && value_fits(&pattern.value, value))
    };
    let parameters: Vec<(Vec<u8>, Vec<u8>)> = asked.query.split(|b| *b == b'&').map(pair).collect();
    let parameter_fits = |pattern: &NamedPattern| {
        let mut all = parameters.iter();
        let first = all.find(|(name, _)| **name == *pattern.name.as_bytes());
        first.is_some_and(|(_, value)| value_fits(&pattern.value, value))
    };
    let method = one.method.as_deref();
    let fits = method.is_none_or(|name| name.as_bytes() == asked.method)
        && one.headers.iter().all(header_fits)
        && one.query.iter().all(parameter_fits);
    fits.then_some((
        path_rank,
        one.method.is_some(),
        one.headers.len(),
        one.query.len(),
    ))
}

fn value_fits(pattern: &ValuePattern, value: &[u8]) -> bool {
    match pattern {
        ValuePattern::Exact(text) => text.as_bytes() == value,
        ValuePattern::Expression(e) => e.for_worker().is_match(value),
    }
}

/// A parameter's name and value, read.
fn pair(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = text.splitn(2, |b| *b == b'=');
    let (name, value) = (parts.next(), parts.next());
    (
        read(name.unwrap_or_default()),
        read(value.unwrap_or_default()),
    )
}

/// With `+` as a space, and what two hexadecimal digits behind a `%` say.
fn read(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text
            .get(at + 1..at + 3)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|two| std::str::from_utf8(two).ok());
        match (
            text[at],
            escaped.and_then(|two| u8::from_str_radix(two, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                at += 2;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
        at += 1;
    }
    bytes
}
