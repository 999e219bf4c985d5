//! Sets an admin state: what `drain`, `enable` and `disable` have in common.

use std::time::Duration;

use super::Failure;
use super::client::Client;
use crate::admin::Route;
use crate::admin::schema::{AdminStateSet, SetAdminState};
use crate::model::{AdminState, Target};

/// Sets the state and returns what it was set for.
pub(super) async fn set(
    client: &Client,
    target: &Target,
    state: AdminState,
    timeout: Option<Duration>,
) -> Result<AdminStateSet, Failure> {
    let wish = SetAdminState {
        target: target.to_string(),
        namespace: target.backend.namespace.to_string(),
        state,
        // Rounded up: a rest of a second is still time to finish in.
        timeout_seconds: timeout.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)),
    };
    client.post(Route::AdminState.path(), &wish).await
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
