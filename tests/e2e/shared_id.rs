//! A hook id that a person has written into a template, so that all pods of an app have it: nobody can tell whose a call
//! of the kubelet is.

use crate::app::App;
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

/// Each call waits for all that stop, and none of the others is taken out of service.
#[test]
fn pods_that_share_a_hook_id_lose_nothing_in_http_get_mode() {
    let lastcall = shared(Mode::HttpGet);
    let wanted = Wanted {
        pod_labels: "lastcall.dev/hook-id: everybody".to_owned(),
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "shared", &wanted);
    let load = app.load();
    let pods = app.staying();
    app.space.kubectl(&["delete", "pod", &pods[0], &pods[1]]);
    app.settle(4);
    app.rolled_out();
    app.space.kubectl(&["rollout", "restart", "deployment/app"]);
    app.rolled_out();
    app.settle(4);
    load.wait_for_more(40);
    load.end().nothing_failed();
    app.judge().clean(6);
}
