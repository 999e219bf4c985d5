//! How many descriptors the process may open. Called by `app` at the start.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and returns what it is now (`None`: without limit). The soft one is
/// 1024 in most shells and services, for the sake of programs that use select(2), which we do not; each
/// connection that is proxied takes two.
pub(super) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused only where the system's own bound was lowered since; what there is will have to do.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}
