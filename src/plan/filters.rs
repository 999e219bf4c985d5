//! The filters of one route: from what users wrote to what the proxy applies.

use super::verdict::Fault;
use crate::api::filter as written;
use crate::model::filter::{
    FieldEdits, Filters, LimitPer, PathChange, RateLimit, Redirect, Rewrite, Scheme,
};

/// The filters of the route called `field`; `None` where there are none. What is wrong with them is added to
/// `faults`: the doors do not let such a route through. Where copies go `routes` looks up.
pub(super) fn plan(
    all: &[written::Filter],
    field: &str,
    faults: &mut Vec<Fault>,
) -> Option<Filters> {
    if all.is_empty() {
        return None;
    }
    let mut filters = Filters::default();
    for (at, one) in all.iter().enumerate() {
        let field = format!("{field}.filters[{at}]");
        if let Some(edits) = &one.request_headers {
            let field = format!("{field}.requestHeaders");
            filters.request = Some(field_edits(edits, &field, faults));
        }
        if let Some(edits) = &one.response_headers {
            let field = format!("{field}.responseHeaders");
            filters.response = Some(field_edits(edits, &field, faults));
        }
        if let Some(redirect) = &one.redirect {
            filters.redirect = Some(redirect_of(redirect));
        }
        if let Some(rewrite) = &one.rewrite {
            filters.rewrite = Some(Rewrite {
                hostname: rewrite.hostname.as_deref().map(Into::into),
                path: rewrite.path.as_ref().map(path_change),
            });
        }
        if let Some(limit) = &one.rate_limit {
            filters.rate_limit = Some(rate_limit(limit));
        }
    }
    Some(filters)
}

/// Once more what the schema says of names and values: what is written to a socket is not left to one door
/// alone.
fn field_edits(edits: &written::HeaderEdits, field: &str, faults: &mut Vec<Fault>) -> FieldEdits {
    let mut check_name = |name: &str, list: &str| {
        if !is_token(name) || written::is_reserved(name) {
            let message = format!("{name:?} is no field that a filter may touch");
            faults.push(Fault::new(format!("{field}.{list}"), message));
        }
    };
    let lists = [(&edits.set, "set"), (&edits.add, "add")];
    for (list, name) in lists {
        for one in list {
            check_name(&one.name.0, name);
        }
    }
    for name in &edits.remove {
        check_name(&name.0, "remove");
    }
    for (list, name) in lists {
        if list.iter().any(|one| !is_value(&one.value)) {
            let message = "a value must be printable ASCII, without white space around it";
            faults.push(Fault::new(format!("{field}.{name}"), message));
        }
    }
    let set = edits.set.iter().map(|one| &one.name);
    let written = edits.set.iter().chain(&edits.add);
    FieldEdits {
        dropped: set
            .chain(&edits.remove)
            .map(|name| name.0.to_ascii_lowercase().into())
            .collect(),
        written: written
            .map(|one| (one.name.0.as_str().into(), one.value.as_str().into()))
            .collect(),
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    let taken = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(taken)
}

/// Visible characters, and spaces between them (RFC 9110 section 5.5, less obs-text and tabs).
fn is_value(value: &str) -> bool {
    let inner = value.bytes().all(|b| matches!(b, b' '..=b'~'));
    inner && !value.is_empty() && value.trim_ascii() == value
}

fn redirect_of(redirect: &written::Redirect) -> Redirect {
    Redirect {
        scheme: redirect.scheme.map(|scheme| match scheme {
            written::Scheme::Http => Scheme::Http,
            written::Scheme::Https => Scheme::Https,
        }),
        hostname: redirect.hostname.as_deref().map(Into::into),
        port: redirect.port,
        path: redirect.path.as_ref().map(path_change),
        status: redirect.status_code,
    }
}

fn rate_limit(limit: &written::RateLimit) -> RateLimit {
    RateLimit {
        requests: limit.requests,
        interval: limit.interval.get(),
        burst: limit.burst.unwrap_or(limit.requests),
        per: match limit.per {
            written::LimitPer::Client => LimitPer::Client,
            written::LimitPer::Route => LimitPer::Route,
        },
    }
}

fn path_change(change: &written::PathChange) -> PathChange {
    match change.kind {
        written::PathChangeType::ReplaceFullPath => PathChange::Full(change.value.as_str().into()),
        written::PathChangeType::ReplacePrefixMatch => PathChange::prefix(&change.value),
    }
}
