//! `PodSecurity` restricted: what the webhook adds to a pod passes it.

use crate::app::App;
use crate::cluster::Namespace;
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

#[test]
fn held_pods_pass_pod_security_restricted() {
    let lastcall = shared(Mode::Exec);
    let labels = [
        "lastcall.dev/drain=enabled",
        "pod-security.kubernetes.io/enforce=restricted",
        "pod-security.kubernetes.io/enforce-version=latest",
    ];
    let mut app = App::prepare(&lastcall, Namespace::new("restricted", &labels));
    app.apply(&Wanted::default());
    app.reach();
    let load = app.load();
    app.space.kubectl(&["rollout", "restart", "deployment/app"]);
    app.rolled_out();
    app.settle(4);
    load.end().nothing_failed();
    app.judge().clean(4);
}
