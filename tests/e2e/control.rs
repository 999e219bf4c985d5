//! The control: the same app, the same load, the same update, but pods that no webhook has seen. It must show losses, or
//! the other tests show nothing.

use crate::app::App;
use crate::cluster::{LIMIT, object, wait_until};
use crate::command::say;
use crate::installation::{Mode, shared};
use crate::objects::Wanted;

#[test]
fn without_the_webhook_the_same_update_loses_requests() {
    let lastcall = shared(Mode::Exec);
    let wanted = Wanted {
        pod_labels: "lastcall.dev/drain: disabled".to_owned(),
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "control", &wanted);
    // Law 8: what nothing holds is visible before it is lost.
    wait_until("the pods to be counted as unprotected", LIMIT, || {
        let backend = object(&app.space.name, &["backend", "app"])?;
        let counted = lastcall.metric("lastcall_unprotected_pods") >= 4.0;
        (backend["status"]["unprotected"] == 4 && counted)
            .then_some(())
            .ok_or(backend.to_string())
    });
    let load = app.load();
    for _ in 0..2 {
        app.space.kubectl(&["rollout", "restart", "deployment/app"]);
        app.rolled_out();
        app.settle(4);
    }
    load.wait_for_more(40);
    let ended = load.end();
    let judge = app.judge();
    let in_flight: u64 = judge
        .stopped()
        .filter_map(|life| life.summary().in_flight_at_sigterm)
        .sum();
    say(&format!(
        "without the webhook: {} of {} requests failed ({:?}), {in_flight} in flight at SIGTERM",
        ended.failed.len(),
        ended.sent,
        ended.kinds()
    ));
    assert!(!ended.failed.is_empty() && in_flight > 0);
    assert!(judge.stopped().all(|life| judge.release(life).is_none()));
}
