//! How an attempt ended, as every exchange says it, and what a client is told of one that was not answered.

use std::time::Instant;

use h2::Reason;

use crate::proxy::grpc;
use crate::proxy::http1::BodyFault;
use crate::proxy::respond::Answer;

/// How an attempt ended.
#[derive(Debug)]
pub(in crate::proxy) enum Ended {
    /// Both sides are over.
    Finished,
    /// The endpoint switched protocols, and the client knows, or will: what follows is a tunnel.
    Switched,
    /// It went wrong.
    Failed(Failure),
}

/// What went wrong.
#[derive(Debug)]
pub(in crate::proxy) enum Failure {
    /// No response came. The client has seen nothing of it.
    Unanswered(Unanswered),
    /// The response broke off, and the client has seen its head.
    Truncated(Truncated),
    /// The client went away, or takes nothing any more.
    ClientGone,
    /// The request's body is malformed.
    Malformed(BodyFault),
    /// The request's body is longer than allowed.
    TooLong,
    /// The request's body took too long.
    BodyTimedOut,
    /// The exchange was ended by force.
    Cut,
}

/// How a response broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Truncated {
    /// The endpoint closed or reset the connection, or what it sent is no body.
    Closed,
    /// The endpoint reset the stream (RFC 9113 section 5.4.2).
    Reset(Reason),
    /// It took too long.
    TimedOut,
}

/// Why no response came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum Unanswered {
    /// The endpoint closed or reset the connection; it may have acted on what it got.
    #[error("the endpoint closed the connection without an answer")]
    Closed,
    /// The endpoint reset the stream (RFC 9113 section 5.4.2); it may have acted on what it got.
    #[error("the endpoint reset the request: {0}")]
    Reset(Reason),
    /// The endpoint says that it has done nothing with the request (RFC 9113 section 8.7).
    #[error("the endpoint takes no more requests")]
    Unprocessed,
    /// The same, and only because it takes no more on this connection (GOAWAY, RFC 9113 section 6.8).
    #[error("the endpoint takes no more requests")]
    Leaving,
    /// What it sent is no response; why is for the log.
    #[error("the endpoint's answer is no valid response")]
    Broken(String),
    /// It took too long.
    #[error("the endpoint did not answer in time")]
    TimedOut,
}

impl Truncated {
    /// The `grpc-status` for a call with this deadline.
    pub(in crate::proxy) fn of_call(self, deadline: Option<Instant>, now: Instant) -> u16 {
        match self {
            Self::Reset(code) if grpc::is_deadline(code, deadline, now) => grpc::DEADLINE_EXCEEDED,
            Self::Reset(code) => grpc::status_of_reset(code),
            Self::TimedOut if deadline.is_some_and(|at| now >= at) => grpc::DEADLINE_EXCEEDED,
            Self::TimedOut | Self::Closed => grpc::UNAVAILABLE,
        }
    }
}

impl Unanswered {
    /// Whether the endpoint itself says that nobody has acted on the request.
    pub(in crate::proxy) fn is_unprocessed(&self) -> bool {
        matches!(self, Self::Unprocessed | Self::Leaving)
    }

    /// Whether it says more of the connection than of the endpoint; `kept`: one that was there before.
    pub(in crate::proxy) fn is_of_connection(&self, kept: bool) -> bool {
        *self == Self::Leaving || (kept && *self == Self::Closed)
    }

    /// What it means for a call of gRPC with this deadline.
    pub(in crate::proxy) fn of_call(self, deadline: Option<Instant>, now: Instant) -> Self {
        match self {
            Self::Reset(code) if grpc::is_deadline(code, deadline, now) => Self::TimedOut,
            other => other,
        }
    }

    /// What the client is told, where nobody else is asked.
    pub(in crate::proxy) fn answer(&self) -> Answer {
        match self {
            Self::Closed | Self::Broken(_) => Answer::new(502, self.to_string()),
            Self::Reset(code) => {
                Answer::new(502, self.to_string()).for_calls(grpc::status_of_reset(*code))
            }
            Self::Unprocessed | Self::Leaving => Answer::new(503, self.to_string()).retry_after(1),
            Self::TimedOut => Answer::new(504, self.to_string()),
        }
    }
}
