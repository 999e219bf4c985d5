//! What a hold tells its caller on the way and at the end, in words and as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use crate::wire::{Cause, Problem};

/// What happens while a hold lasts.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// lastcall holds; sent when a number changes.
    Holding {
        /// Time left until the deadline.
        remaining: Duration,
        /// Requests in flight on the endpoints waited for.
        in_flight: u64,
        /// The endpoints waited for.
        endpoints: Vec<String>,
    },
    /// lastcall cannot be asked at the moment; it will be again.
    Lost {
        /// Why.
        why: String,
        /// Until it is asked again.
        again_in: Duration,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Holding {
                remaining,
                in_flight,
                endpoints,
            } => write!(
                f,
                "holding: {in_flight} in flight on {}, {:.1} s left",
                endpoints.join(", "),
                remaining.as_secs_f64()
            ),
            Progress::Lost { why, again_in } => {
                write!(
                    f,
                    "lost: {why}; asking again in {} ms",
                    again_in.as_millis()
                )
            }
        }
    }
}

/// How a hold ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// lastcall released it.
    Released {
        /// Why.
        cause: Cause,
        /// From the first call to the release, by lastcall's clock.
        held: Duration,
        /// From the moment the last request left to the release.
        since_last_byte: Duration,
        /// Requests that were cut.
        cut: u64,
    },
    /// The deadline came by the waiting side's own clock, without a word from lastcall.
    GaveUp {
        /// How long was waited.
        waited: Duration,
        /// The last reason why lastcall could not be asked, or that it held to the end.
        why: String,
    },
    /// lastcall is no longer installed in the cluster: there is nobody who could send requests or count them.
    Uninstalled {
        /// How long was waited.
        waited: Duration,
    },
    /// lastcall does not know what was asked for, or the request is wrong; nothing was held.
    Refused(Problem),
}

impl Outcome {
    /// 0 where the server may stop, also at the deadline: a hook that fails would not keep it alive
    /// either. 2 where the target is unknown or the request wrong, 1 for another refusal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Released { .. } | Outcome::GaveUp { .. } | Outcome::Uninstalled { .. } => 0,
            Outcome::Refused(problem) if matches!(problem.status, 400 | 404) => 2,
            Outcome::Refused(_) => 1,
        }
    }

    /// True where something was, or may have been, cut: to be said even when quiet.
    pub fn is_loud(&self) -> bool {
        !matches!(
            self,
            Outcome::Released {
                cause: Cause::Drained,
                cut: 0,
                ..
            }
        )
    }

    /// The line of `-o json`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Outcome::Released {
                cause,
                held,
                since_last_byte,
                cut,
            } => json!({
                "outcome": "released", "cause": cause, "heldMillis": millis(*held),
                "sinceLastByteMillis": millis(*since_last_byte), "cut": cut,
            }),
            Outcome::GaveUp { waited, why } => json!({
                "outcome": "gaveUp", "waitedMillis": millis(*waited), "detail": why,
            }),
            Outcome::Uninstalled { waited } => json!({
                "outcome": "uninstalled", "waitedMillis": millis(*waited),
            }),
            Outcome::Refused(problem) => json!({
                "outcome": "refused", "status": problem.status, "title": problem.title,
                "detail": problem.detail,
            }),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Released {
                cause: Cause::Drained,
                held,
                since_last_byte,
                cut: 0,
            } => write!(
                f,
                "released: drained after {:.3} s, {:.2} ms after the last byte",
                held.as_secs_f64(),
                millis(*since_last_byte)
            ),
            Outcome::Released {
                cause, held, cut, ..
            } => {
                let why = match cause {
                    Cause::Drained => "drained",
                    Cause::Deadline => "the deadline came",
                    Cause::Cut => "draining is disabled",
                };
                let held = held.as_secs_f64();
                write!(
                    f,
                    "WARNING: released after {held:.3} s: {why}; requests cut: {cut}"
                )
            }
            Outcome::GaveUp { waited, why } => write!(
                f,
                "WARNING: gave up at the deadline, after {:.3} s: {why}; requests may be in flight",
                waited.as_secs_f64()
            ),
            Outcome::Uninstalled { waited } => write!(
                f,
                "WARNING: lastcall is no longer installed in this cluster, seen for {:.3} s: nobody counts requests",
                waited.as_secs_f64()
            ),
            Outcome::Refused(problem) => {
                write!(f, "refused: {}: {}", problem.title, problem.detail)
            }
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(cause: Cause, cut: u64) -> Outcome {
        Outcome::Released {
            cause,
            held: Duration::from_millis(1500),
            since_last_byte: Duration::from_micros(250),
            cut,
        }
    }

    fn refused(status: u16) -> Outcome {
        Outcome::Refused(Problem {
            title: "t".to_owned(),
            status,
            detail: "d".to_owned(),
            field: None,
        })
    }

    #[test]
    fn only_a_wrong_request_fails_and_only_a_clean_drain_is_quiet() {
        let gave_up = Outcome::GaveUp {
            waited: Duration::from_secs(1),
            why: "no socket".to_owned(),
        };
        for (outcome, code, loud) in [
            (released(Cause::Drained, 0), 0, false),
            (released(Cause::Drained, 1), 0, true),
            (released(Cause::Deadline, 3), 0, true),
            (released(Cause::Cut, 3), 0, true),
            (gave_up, 0, true),
            (refused(404), 2, true),
            (refused(400), 2, true),
            (refused(403), 1, true),
        ] {
            assert_eq!(
                (outcome.exit_code(), outcome.is_loud()),
                (code, loud),
                "{outcome}"
            );
        }
    }

    #[test]
    fn the_json_line_has_the_documented_names() {
        assert_eq!(
            released(Cause::Deadline, 2).to_json(),
            json!({"outcome": "released", "cause": "Deadline", "heldMillis": 1500.0,
                "sinceLastByteMillis": 0.25, "cut": 2})
        );
        assert_eq!(refused(404).to_json()["outcome"], "refused");
    }
}
