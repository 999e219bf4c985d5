//! Bad objects over good ones, under load: they change nothing that runs, and say what is wrong.

use crate::app::App;
use crate::cluster::{LIMIT, object, wait_until};
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

const REFUSED: &str = "apiVersion: lastcall.dev/v1alpha1
kind: LoadBalancer
metadata: {name: app}
spec:
  listeners: [{name: http, port: 80, protocol: HTTP}, {name: again, port: 80, protocol: HTTP}]
  defaultBackend: {name: app}
  service: {type: ClusterIP}
";

const UNRESOLVED: &str = "apiVersion: lastcall.dev/v1alpha1
kind: LoadBalancer
metadata: {name: app}
spec:
  listeners: [{name: http, port: 80, protocol: HTTP}]
  routes: [{matches: [{path: {type: Prefix, value: /nowhere}}], backends: [{name: missing}]}]
  defaultBackend: {name: app}
  service: {type: ClusterIP}
";

/// An annotation that the installation does not allow: only the webhook knows.
const NOT_ALLOWED: &str = "apiVersion: lastcall.dev/v1alpha1
kind: LoadBalancer
metadata: {name: app}
spec:
  listeners: [{name: http, port: 80, protocol: HTTP}]
  defaultBackend: {name: app}
  service: {type: ClusterIP, annotations: {example.com/address: taken}}
";

#[test]
fn a_broken_load_balancer_over_a_good_one_changes_nothing_that_runs() {
    let lastcall = shared(Mode::Exec);
    let app = App::deploy(
        &lastcall,
        "broken",
        &Wanted {
            replicas: 2,
            ..Wanted::default()
        },
    );
    let load = app.load();
    let refused = app
        .space
        .attempt(&["apply", "-f", "-"], REFUSED)
        .unwrap_err();
    assert!(refused.contains("spec.listeners"), "{refused}");
    let refused = app
        .space
        .attempt(&["apply", "-f", "-"], NOT_ALLOWED)
        .unwrap_err();
    assert!(refused.contains("example.com/address"), "{refused}");
    load.wait_for_more(40);
    app.space.apply(UNRESOLVED);
    wait_until("a condition that names the field", LIMIT, || {
        let found = object(&app.space.name, &["loadbalancer", "app"])?;
        let conditions = found["status"]["conditions"].as_array().cloned();
        let bad = conditions.into_iter().flatten().find(|one| {
            one["type"] == "ResolvedRefs"
                && one["status"] == "False"
                && one["message"]
                    .as_str()
                    .is_some_and(|message| message.contains("routes[0].backends[0]"))
        });
        bad.map(|_| ()).ok_or(format!("{}", found["status"]))
    });
    load.wait_for_more(80);
    load.end().nothing_failed();
}
