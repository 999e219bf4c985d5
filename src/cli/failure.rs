//! How a command can fail, and the exit code that says so.

use std::path::PathBuf;

use crate::admin::schema::ReloadProblem;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answers at the admin socket.
    #[error(
        "no answer at {socket}: {why}; is lastcall standalone running? --admin-socket (or LASTCALL_ADMIN_SOCKET) says where its admin socket is"
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        why: String,
    },
    /// lastcall may not be asked by this user.
    #[error(
        "{socket} belongs to another user: run this as the user that lastcall runs as, or as root"
    )]
    Permission {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection was lost before the answer was complete.
    #[error("{socket}: the connection was lost before the answer was complete: {why}")]
    Lost {
        /// The socket.
        socket: PathBuf,
        /// Why.
        why: String,
    },
    /// lastcall refused.
    #[error("{}", refusal(.0))]
    Refused(Box<ReloadProblem>),
    /// The command line is wrong in a way that only the running lastcall could tell.
    #[error("{0}")]
    Usage(String),
    /// It is not so, and the time is over; or it is so by force.
    #[error("{0}")]
    NotReached(String),
    /// A signal came first.
    #[error("interrupted")]
    Interrupted,
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// The exit code; the list is in docs/cli.md.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Other(_) => 1,
            // What shells expect of SIGINT.
            Failure::Interrupted => 130,
            Failure::Refused(refused) => match refused.problem.status {
                400 | 404 => 2,
                503 => 4,
                _ => 1,
            },
            Failure::Usage(_) => 2,
            Failure::NotReached(_) => 3,
            Failure::Unreachable { .. } | Failure::Permission { .. } | Failure::Lost { .. } => 4,
        }
    }

    /// Whether asking again may help: lastcall restarts, or has no configuration yet.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Lost { .. } => true,
            Failure::Refused(refused) => refused.problem.status >= 500,
            _ => false,
        }
    }
}

fn refusal(refused: &ReloadProblem) -> String {
    let mut text = format!("{}: {}", refused.problem.title, refused.problem.detail);
    for fault in &refused.faults {
        text.push_str("\n  ");
        text.push_str(&fault.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::schema::Problem;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let refused = |status| {
            let problem = Problem {
                title: "t".to_owned(),
                status,
                detail: "d".to_owned(),
                field: None,
            };
            Failure::Refused(Box::new(ReloadProblem {
                problem,
                faults: Vec::new(),
            }))
        };
        let lost = Failure::Lost {
            socket: "/s".into(),
            why: String::new(),
        };
        for (failure, code) in [
            (refused(404), 2),
            (refused(400), 2),
            (refused(409), 1),
            (refused(422), 1),
            (refused(503), 4),
            (Failure::NotReached(String::new()), 3),
            (Failure::Usage(String::new()), 2),
            (Failure::Other(anyhow::anyhow!("x")), 1),
            (lost, 4),
            (Failure::Interrupted, 130),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }

    #[test]
    fn a_missing_socket_says_what_to_do_next() {
        let failure = Failure::Unreachable {
            socket: "/run/lastcall/admin.sock".into(),
            why: "no such file".to_owned(),
        };
        let text = failure.to_string();
        assert!(text.contains("is lastcall standalone running?"), "{text}");
        assert!(text.contains("--admin-socket"), "{text}");
    }
}
