//! Sets an admin state: what `drain`, `enable` and `disable` have in common.

use std::time::Duration;

use super::Failure;
use super::reach::Lastcall;
use crate::admin::Route;
use crate::admin::schema::{AdminStateSet, SetAdminState};
use crate::model::{AdminState, Target};

/// Sets the state and returns what it was set for: in the process where lastcall runs by itself, in the objects
/// where it runs in a cluster.
pub(super) async fn set(
    lastcall: &Lastcall,
    target: &Target,
    state: AdminState,
    timeout: Option<Duration>,
) -> Result<AdminStateSet, Failure> {
    if let Some(cluster) = &lastcall.cluster {
        if timeout.is_some() {
            return Err(Failure::Usage(
                "--timeout is for lastcall on this machine: in a cluster a drain lasts as long as the Backend's spec.connectionDraining.timeoutSeconds says".to_owned(),
            ));
        }
        return cluster
            .set_admin_state(&lastcall.client, target, state)
            .await;
    }
    let wish = SetAdminState {
        target: target.to_string(),
        namespace: target.backend.namespace.to_string(),
        state,
        // Rounded up: a rest of a second is still time to finish in.
        timeout_seconds: timeout.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)),
    };
    lastcall.client.post(Route::AdminState.path(), &wish).await
}

/// What was done, for people.
pub(super) fn sentence(target: &Target, set: &AdminStateSet) -> String {
    let state = match set.state {
        AdminState::Enabled => "enabled",
        AdminState::Draining => "draining",
        AdminState::Disabled => "disabled",
    };
    match set.endpoints.len() {
        1 if target.address.is_some() => format!("{target} {state}\n"),
        1 => format!("{target} {state} (1 endpoint)\n"),
        n => format!("{target} {state} ({n} endpoints)\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::cluster::test_server;

    #[tokio::test]
    async fn a_timeout_that_a_cluster_cannot_keep_is_refused_not_ignored() {
        let (cluster, seen) = test_server::cluster(|_| test_server::refusal(404, "not asked"));
        let lastcall = Lastcall::in_cluster(cluster, None);
        let target = lastcall.target("be/web").unwrap();
        let timeout = Some(Duration::from_secs(9));
        let refused = set(&lastcall, &target, AdminState::Draining, timeout).await;
        let failure = refused.unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("timeoutSeconds"), "{failure}");
        assert!(seen.lines().is_empty());
    }
}
