//! The end of lastcall and the calls of kubelets: to a kubelet the end of its connection is that of the hook, while
//! lastcall-hold asks the next replica. So a process that is leaving keeps these calls as long as it may last.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::Signals;
use crate::cli::run::Run;
use crate::drain::hook::Calls;
use crate::plan::cluster::Pod;
use crate::source::kubernetes::{Live, LookupError};

/// The least that calls of kubelets are given to be answered at the end: what was cut just now lets some go.
const ANSWERS_TAKE: Duration = Duration::from_secs(1);
/// From an answer to its last byte in the socket.
const SENT: Duration = Duration::from_millis(100);

/// Whether no lastcall will be there after this one: its objects, its rights among them, are being taken away.
pub(super) async fn is_uninstalled(live: &Live, args: &Run) -> bool {
    let labels = args.pod_selector.iter();
    let selector: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let own = live.selected(&args.namespace, &selector.join(",")).await;
    is_the_last(&own)
}

/// Where that is not known there is another one (Law 5).
fn is_the_last(own: &Result<Vec<Pod>, LookupError>) -> bool {
    match own {
        Ok(pods) => pods.iter().all(|pod| pod.deletion.is_some() || pod.over),
        Err(error) => error.is_refusal(),
    }
}

/// Waits for what kubelets wait for besides requests in flight here, which are over by now: a replacement of the last
/// endpoint, or the time of a `sleep` that was replaced. Where lastcall is uninstalled nobody is served any more, and
/// no pod is to stick for that.
pub(super) async fn wait_for_kubelets(
    calls: &Calls,
    uninstalled: bool,
    end: Instant,
    signals: &mut Signals,
) {
    let left = end.saturating_duration_since(Instant::now());
    let limit = if uninstalled { Duration::ZERO } else { left };
    tokio::select! {
        left = calls.ended(limit.max(ANSWERS_TAKE)) => if left > 0 {
            tracing::warn!(
                left,
                uninstalled,
                "ending with preStop calls of kubelets open: their containers are stopped now"
            );
        },
        () = signals.stop_again() => {
            tracing::warn!("second signal: not waiting for preStop calls of kubelets");
        }
    }
    // hyper has taken the last answer, and is about to send it.
    tokio::time::sleep(SENT).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::cluster::hook_ids::tests::pod as some_pod;

    fn refused(code: u16) -> LookupError {
        let status = kube::core::Status {
            code,
            ..kube::core::Status::default()
        };
        LookupError::Api(Box::new(kube::Error::Api(Box::new(status))))
    }

    #[test]
    fn lastcall_is_uninstalled_where_no_other_is_there_or_its_rights_are_gone() {
        let pod = |deletion, over| Pod {
            deletion,
            over,
            ..some_pod("lastcall-1", None)
        };
        let ending = pod(Some(Duration::from_secs(30)), false);
        for (case, own, expected) in [
            ("alone", Ok(vec![ending.clone()]), true),
            (
                "one that has ended",
                Ok(vec![ending.clone(), pod(None, true)]),
                true,
            ),
            ("another one", Ok(vec![ending, pod(None, false)]), false),
            ("no account", Err(refused(401)), true),
            ("no rights", Err(refused(403)), true),
            ("no answer", Err(LookupError::Timeout(SENT)), false),
            ("in trouble", Err(refused(500)), false),
        ] {
            assert_eq!(is_the_last(&own), expected, "{case}");
        }
    }
}
