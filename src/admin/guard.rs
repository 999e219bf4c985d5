//! What stands before the admin API on a TCP port: no web page may use the operator's browser to reach
//! it. A Unix socket needs none of this, its file's permissions decide.

use std::net::{Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Refusal;

/// Refuses requests under a name that is not ours (a page whose name was rebound to the loopback
/// address) and requests that another origin's page makes.
pub(super) async fn only_from_here(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => Refusal::Forbidden(why).into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !is_own_name(host) {
        return Err("call the admin API by its IP address or as localhost");
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => {
            Err("a page of another origin may not use the admin API")
        }
        None if headers.contains_key(header::ORIGIN) => {
            Err("a page of another origin may not use the admin API")
        }
        _ => Ok(()),
    }
}

fn is_own_name(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let bare = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(bare, _)| bare);
    bare.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn allowed(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        check(&headers).is_ok()
    }

    #[test]
    fn names_that_can_be_rebound_are_refused() {
        for own in [
            "127.0.0.1:9901",
            "127.0.0.1",
            "[::1]:9901",
            "[::1]",
            "localhost:9901",
            "LOCALHOST",
        ] {
            assert!(allowed(own, None), "{own}");
        }
        for other in [
            "",
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:x",
        ] {
            assert!(!allowed(other, None), "{other}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        assert!(allowed("localhost:9901", Some("http://localhost:9901")));
        for other in [
            "http://evil.example",
            "http://localhost:80",
            "https://localhost:9901",
            "null",
        ] {
            assert!(!allowed("localhost:9901", Some(other)), "{other}");
        }
    }
}
