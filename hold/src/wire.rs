//! What is said over the admin socket about a hold. lastcall's admin API uses the same types.

use serde::{Deserialize, Serialize};

/// Path of the request, method POST.
pub const PATH: &str = "/v1/hold";

/// The body of `POST /v1/hold`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldAsk {
    /// Who holds. The same key asked twice is one hold, with one deadline.
    pub key: String,
    /// What to wait for: `be/NAME` or `be/NAME/ADDRESS:PORT`, at least one.
    pub targets: Vec<String>,
    /// The namespace of the targets.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// What the caller can wait at most, seconds (fractions allowed); the Backend's drain timeout where
    /// absent or longer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grace_seconds: Option<f64>,
    /// The server comes back: `restartTimeoutSeconds` in place of `timeoutSeconds`.
    #[serde(default)]
    pub restart: bool,
}

/// Path of a pod's request to the hook service, method POST, with `Authorization: Bearer` and the pod's
/// projected service account token of audience [`AUDIENCE`].
pub const PRESTOP_PATH: &str = "/v1/prestop";

/// The audience of the tokens that pods show.
pub const AUDIENCE: &str = "lastcall.dev";

/// The body of `POST /v1/prestop`. Who asks is proven by the token; the answer is that of `POST /v1/hold`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrestopAsk {
    /// The container whose preStop hook this is.
    pub container: String,
}

/// The namespace of objects that name none.
pub fn default_namespace() -> String {
    "default".to_owned()
}

/// One line of the answer to `POST /v1/hold`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum HoldLine {
    /// First, and again when a number changes.
    Holding {
        /// Time left until the deadline, ms.
        remaining_millis: u64,
        /// Requests in flight on the endpoints waited for.
        in_flight: u64,
        /// The endpoints waited for, `namespace/backend/address`.
        endpoints: Vec<String>,
    },
    /// Sent every few seconds; a caller that hears nothing for three of them asks again.
    Heartbeat {
        /// Time left until the deadline, ms.
        remaining_millis: u64,
    },
    /// The last line: the server may stop.
    Released {
        /// Why.
        cause: Cause,
        /// From the first call with this key to the release, ms.
        held_millis: f64,
        /// From the moment the last request left to the release, ms; 0 where nothing was in flight.
        since_last_byte_millis: f64,
        /// Requests that were cut by this drain.
        cut: u64,
    },
    /// A kind of line that is newer than this program; proof of life, nothing else.
    #[serde(other)]
    Unknown,
}

/// Why a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Nothing is in flight and nothing will be.
    Drained,
    /// The deadline came; what was in flight was cut.
    Deadline,
    /// Draining is disabled, or the endpoint was: what was in flight was cut at once.
    Cut,
}

/// The body of a refusal, RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of refusal, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This refusal, and what to do next.
    pub detail: String,
    /// The field of the request that is at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_newer_lastcall_is_a_sign_of_life() {
        let line: HoldLine = serde_json::from_str(r#"{"type":"applause","clap":3}"#).unwrap();
        assert_eq!(line, HoldLine::Unknown);
    }

    #[test]
    fn lines_have_the_documented_names() {
        let line = HoldLine::Released {
            cause: Cause::Drained,
            held_millis: 1.5,
            since_last_byte_millis: 0.25,
            cut: 0,
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"type":"released","cause":"Drained","heldMillis":1.5,"sinceLastByteMillis":0.25,"cut":0}"#
        );
    }
}
