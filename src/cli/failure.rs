//! How a command can fail, and the exit code that says so.

use crate::admin::schema::ReloadProblem;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answers where lastcall was asked.
    #[error("no answer at {place}: {why}; {advice}")]
    Unreachable {
        /// Where, and why there.
        place: String,
        /// Why.
        why: String,
        /// What to look at next.
        advice: &'static str,
    },
    /// lastcall may not be asked by this user.
    #[error(
        "{place} belongs to another user: run this as the user that lastcall runs as, or as root"
    )]
    Permission {
        /// Where, and why there.
        place: String,
    },
    /// The connection was lost before the answer was complete.
    #[error("{place}: the connection was lost before the answer was complete: {why}")]
    Lost {
        /// Where, and why there.
        place: String,
        /// Why.
        why: String,
    },
    /// The kubeconfig leads to no cluster.
    #[error(
        "no cluster ({because}): {why}; --kubeconfig and --context name another, --admin-socket asks lastcall on this machine"
    )]
    NoCluster {
        /// Why a cluster.
        because: String,
        /// Why not.
        why: String,
    },
    /// The API server does not let this user do it.
    #[error(
        "not allowed to {verb} {resource} {scope}: {said}; docs/install.md lists the rights that each command needs"
    )]
    Forbidden {
        /// The verb, as RBAC names it.
        verb: &'static str,
        /// The resource, as RBAC names it.
        resource: &'static str,
        /// `in namespace NAME`, or `in all namespaces`.
        scope: String,
        /// The API server's own words.
        said: String,
    },
    /// The API server could not be asked, or failed.
    #[error("the API server of {cluster} could not {verb} {resource} {scope}: {why}")]
    ApiServer {
        /// Which cluster, and why that.
        cluster: String,
        /// The verb, as RBAC names it.
        verb: &'static str,
        /// The resource, as RBAC names it.
        resource: &'static str,
        /// `in namespace NAME`, or `in all namespaces`.
        scope: String,
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
            Failure::Unreachable { .. }
            | Failure::Permission { .. }
            | Failure::Lost { .. }
            | Failure::NoCluster { .. }
            | Failure::Forbidden { .. }
            | Failure::ApiServer { .. } => 4,
        }
    }

    /// Whether asking again may help: lastcall restarts, or has no configuration yet.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Lost { .. } | Failure::ApiServer { .. } => true,
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
            place: "/s".to_owned(),
            why: String::new(),
        };
        let forbidden = Failure::Forbidden {
            verb: "patch",
            resource: "pods",
            scope: "in namespace shop".to_owned(),
            said: "no".to_owned(),
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
            (forbidden, 4),
            (Failure::Interrupted, 130),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }
}
