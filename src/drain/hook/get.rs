//! `GET /v1/prestop/NAMESPACE/ID/CONTAINER`: the kubelet's own call, in `HTTPGet` mode.
//!
//! Whatever is answered lets SIGTERM come, also an error or an end of the connection. So not one byte is sent before the
//! release; then 200 with a line for people, and the connection is closed. The only other answer sends the kubelet to
//! another replica, see [`hands_over`].

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use lastcall_hold::wire::PRESTOP_PATH;
use serde::Deserialize;

use super::calls::{Call, Open};
use super::{Parts, Refusal};

/// A kubelet follows 9 redirects (Go's `net/http` follows 10 requests): two are kept for what else may redirect.
const MOST_HAND_OVERS: u8 = 7;

/// What a hand-over adds to the path.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Hops {
    /// How often the call was handed over.
    #[serde(default)]
    hops: u8,
}

pub(super) async fn prestop(
    State(parts): State<Parts>,
    Path((namespace, id, container)): Path<(String, String, String)>,
    Query(Hops { hops }): Query<Hops>,
) -> Result<Response, Refusal> {
    for (what, text) in [
        ("namespace", &namespace),
        ("id", &id),
        ("container", &container),
    ] {
        if !is_label_value(text) {
            return Err(Refusal::Invalid(format!("{text:?} is no {what}")));
        }
    }
    let open = parts.calls.open();
    let path = format!("{PRESTOP_PATH}/{namespace}/{id}/{container}");
    let call = Call {
        namespace,
        id,
        container,
    };
    tokio::select! {
        biased;
        answer = parts.calls.join(&parts, call) => {
            Ok(respond(StatusCode::OK, None, format!("{answer}\n"), open))
        }
        () = peer_takes_over(&parts, hops) => {
            let there = format!("{path}?hops={}", hops + 1);
            let body = "asked again of another replica\n".to_owned();
            Ok(respond(StatusCode::TEMPORARY_REDIRECT, Some(&there), body, open))
        }
    }
}

/// What may be in a path: a label's value (Kubernetes: "Labels and Selectors"), which the names of namespaces and
/// containers are too. It goes into requests to the API server, so nothing else may pass.
fn is_label_value(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(word) && end(bytes.first()) && end(bytes.last())
}

/// Whether a call is handed to another replica: the one place where that is decided. `peer_ready`: this replica is
/// leaving, its delay is over, so that the Service leads elsewhere, and another one is known to be ready.
fn hands_over(peer_ready: bool, hops: u8) -> bool {
    peer_ready && hops < MOST_HAND_OVERS
}

/// Waits until the call is to be handed over; for ever where it is not.
async fn peer_takes_over(parts: &Parts, hops: u8) {
    let mut peer_ready = parts.peer_ready.clone();
    let handed = peer_ready.wait_for(|ready| hands_over(*ready, hops));
    let never = handed.await.is_err();
    if never {
        std::future::pending::<()>().await;
    }
}

/// An answer with a body of one line. The call is under way until hyper has taken the body.
fn respond(status: StatusCode, location: Option<&str>, line: String, open: Open) -> Response {
    let body = stream::once(async move {
        let _until_here = open;
        Ok::<_, axum::Error>(Bytes::from(line))
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // A path of label values is a header value.
    if let Some(Ok(there)) = location.map(HeaderValue::from_str) {
        headers.insert(header::LOCATION, there);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_handed_over_to_a_ready_peer_and_not_for_ever() {
        for (peer_ready, hops, handed) in [
            (false, 0, false),
            (true, 0, true),
            (true, 6, true),
            (true, 7, false),
        ] {
            assert_eq!(hands_over(peer_ready, hops), handed, "{peer_ready} {hops}");
        }
    }

    #[test]
    fn what_could_be_more_than_a_name_is_none() {
        for name in ["a", "web-1", "3f_.A", &"x".repeat(63)] {
            assert!(is_label_value(name), "{name}");
        }
        for other in [
            "",
            "-a",
            "a-",
            "..",
            "a/b",
            "a,b=c",
            "a b",
            "ä",
            &"x".repeat(64),
        ] {
            assert!(!is_label_value(other), "{other}");
        }
    }
}
