//! What lastcall reads from pods and namespaces, and what it writes to pods: labels, annotations, the
//! hook. `admission` writes them; `source` and the hook server read them; `lastcall-hold` lives by the
//! paths.

/// Label of a pod or a namespace: `enabled` gets the hook, `disabled` never does; the pod's own wins.
pub const DRAIN: &str = "lastcall.dev/drain";
/// Value of [`DRAIN`].
pub const ENABLED: &str = "enabled";
/// Value of [`DRAIN`].
pub const DISABLED: &str = "disabled";
/// Label of a pod in `HTTPGet` mode: the id by which its hook calls are known.
pub const HOOK_ID: &str = "lastcall.dev/hook-id";
/// Annotation: Enabled, Draining or Disabled, for one pod.
pub const ADMIN_STATE: &str = "lastcall.dev/admin-state";
/// Annotation: `terminationGracePeriodSeconds` before lastcall raised it, in seconds.
pub const ORIGINAL_GRACE_SECONDS: &str = "lastcall.dev/original-grace-seconds";
/// Annotation: to how much, at most, lastcall may raise `terminationGracePeriodSeconds`, in seconds.
pub const MAX_GRACE_SECONDS: &str = "lastcall.dev/max-grace-seconds";
/// Annotation: how long the pod is held at least, in seconds; what its `sleep` hook was.
pub const MIN_SECONDS: &str = "lastcall.dev/min-seconds";

/// Audience of the token by which a pod proves who it is.
pub const TOKEN_AUDIENCE: &str = lastcall_hold::wire::AUDIENCE;
/// Where the hold program is mounted in a container.
pub const HOLD_DIRECTORY: &str = lastcall_hold::pod::FOLDER;
/// The hold program, as the hook calls it.
pub const HOLD_PROGRAM: &str = "/.lastcall/lastcall-hold";
/// Where the pod's token is mounted in a container.
pub const TOKEN_DIRECTORY: &str = "/.lastcall-token";
/// The token's file name in [`TOKEN_DIRECTORY`].
pub const TOKEN_FILE: &str = "token";
/// Where a `HTTPGet` hook's path begins; `<namespace>/<id>/<container>` follows.
pub const PRE_STOP_PATH: &str = "/v1/prestop/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_those_that_the_hold_program_looks_in() {
        let token = format!("{TOKEN_DIRECTORY}/{TOKEN_FILE}");
        assert_eq!(token, lastcall_hold::pod::TOKEN);
        let program = format!("{HOLD_DIRECTORY}/{}", lastcall_hold::install::PROGRAM);
        assert_eq!(program, HOLD_PROGRAM);
    }
}
