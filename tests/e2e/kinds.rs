//! Pods that are not a Deployment's plain ones: two containers, a `StatefulSet`'s, a Job's, on the host's network, with a
//! readiness gate.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::cluster::{LIMIT, Namespace, text, wait_until};
use crate::flow::Flow;
use crate::installation::{Installed, Mode, shared};
use crate::objects::{Wanted, balancing, service, stateful_set, template};
use crate::support::plan::{Planned, Work};

fn prepare<'a>(lastcall: &'a Installed, purpose: &str) -> App<'a> {
    App::prepare(
        lastcall,
        Namespace::new(purpose, &["lastcall.dev/drain=enabled"]),
    )
}

/// A proxy beside the app must not end before the app has done its work: SIGTERM comes to each container by itself.
#[test]
fn both_containers_of_a_pod_are_held() {
    let lastcall = shared(Mode::Exec);
    let mut app = prepare(&lastcall, "two");
    let beside = app.with_made(|made| {
        let (image, pull, record) = (made.image, made.pull, made.record);
        format!(
            "      - name: beside
        image: {image}
        imagePullPolicy: {pull}
        args: [demo-backend, --listen=0.0.0.0:8081, '--record={record}', --name=beside/$(POD_UID)]
        env: [{{name: POD_UID, valueFrom: {{fieldRef: {{fieldPath: metadata.uid}}}}}}]
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"
        )
    });
    let wanted = Wanted {
        containers: beside,
        ..Wanted::default()
    };
    app.apply(&wanted);
    app.reach();
    let load = app.load();
    app.space.kubectl(&["rollout", "restart", "deployment/app"]);
    app.rolled_out();
    app.settle(4);
    load.end().nothing_failed();
    let judge = app.judge();
    judge.clean(8);
    for beside in judge.stopped().filter(|life| life.pod == "beside") {
        let mut stopped = judge.stopped();
        let main = stopped.find(|life| life.uid == beside.uid && life.pod != "beside");
        let last = main.expect("the app's container").summary().last_left;
        assert!(beside.sigterm() >= last, "{}", beside.uid);
    }
}

#[test]
fn a_stateful_sets_pod_comes_back_under_its_name_and_serves() {
    let lastcall = shared(Mode::Exec);
    let mut app = prepare(&lastcall, "stateful");
    app.workload = "statefulset/app";
    let wanted = Wanted {
        replicas: 2,
        ..Wanted::default()
    };
    let set = app.with_made(|made| stateful_set(&wanted, made));
    let parts = [balancing(&wanted), service().to_owned(), set];
    app.space.apply(&parts.join("---\n"));
    app.reach();
    let load = app.load();
    app.space.kubectl(&["delete", "pod", "app-0"]);
    let second = wait_until("work for the new app-0", LIMIT, || {
        let lives = app.collector.lives();
        let of_name: Vec<_> = lives.iter().filter(|life| life.pod == "app-0").collect();
        (of_name.len() == 2 && of_name[1].begins().next().is_some())
            .then(|| of_name[1].uid.clone())
            .ok_or(of_name.len())
    });
    load.end().nothing_failed();
    let judge = app.judge();
    judge.clean(1);
    assert!(judge.stopped().all(|life| life.uid != second));
}

#[test]
fn a_jobs_pod_is_not_kept_from_ending() {
    let lastcall = shared(Mode::Exec);
    let app = prepare(&lastcall, "job");
    let (image, pull) = (&lastcall.image, lastcall.pull());
    let done = format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: done}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: app, image: '{image}', imagePullPolicy: {pull}, args: [--version]}}]
"
    );
    let wanted = Wanted {
        pod_spec: "      restartPolicy: Never\n".to_owned(),
        ..Wanted::default()
    };
    let template = app.with_made(|made| template(&wanted, made));
    let long = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: long}}\nspec:\n  template:\n{template}"
    );
    app.space.apply(&[done, long].join("---\n"));
    app.space.kubectl(&[
        "wait",
        "--for=condition=Complete",
        "job/done",
        "--timeout=60s",
    ]);
    wait_until("the long one to run", LIMIT, || {
        let lives = app.collector.lives().len();
        (lives == 1).then_some(()).ok_or(lives)
    });
    // It serves no Backend: its hook is answered at once.
    let asked = Instant::now();
    app.space.kubectl(&[
        "delete",
        "job",
        "long",
        "--cascade=foreground",
        "--timeout=60s",
    ]);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(20), "took {took:?}");
    assert!(app.collector.lives()[0].sigterm().is_some());
}

/// So many requests of three seconds, on connections of their own.
fn burst(app: &App, requests: u64) -> Flow {
    let plan = (0..requests).map(|id| Planned {
        id,
        at: Duration::ZERO,
        post: true,
        fresh: true,
        work: Work::Answer {
            delay: Duration::from_secs(3),
            bytes: 100,
        },
    });
    let flow = Flow::start(app.address(), plan.collect());
    wait_until("all in flight", LIMIT, || {
        let lives = app.collector.lives();
        let seen: u64 = lives.iter().map(|life| life.summary().in_flight).sum();
        (seen == requests).then_some(()).ok_or(seen)
    });
    flow
}

/// Its replacement cannot start before its port is free, so only what is in flight can be kept.
#[test]
fn a_pod_on_the_hosts_network_is_held() {
    let lastcall = shared(Mode::Exec);
    let wanted = Wanted {
        replicas: 1,
        pod_spec: "      hostNetwork: true\n".to_owned(),
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "host", &wanted);
    let flow = burst(&app, 10);
    let pod = app.staying().remove(0);
    app.space.kubectl(&["delete", "pod", &pod, "--timeout=60s"]);
    flow.end().nothing_failed();
    app.judge().clean(1);
}

/// It gets nothing before its gate is open, and is held like any other.
#[test]
fn a_pod_with_a_readiness_gate_serves_when_the_gate_is_open() {
    let lastcall = shared(Mode::Exec);
    let mut app = prepare(&lastcall, "gate");
    app.apply(&Wanted {
        replicas: 1,
        pod_spec: "      readinessGates: [{conditionType: example.com/routed}]\n".to_owned(),
        ..Wanted::default()
    });
    wait_until("the app to run", LIMIT, || {
        let lives = app.collector.lives().len();
        (lives == 1).then_some(()).ok_or(lives)
    });
    let name = app.staying().remove(0);
    let containers = r#"jsonpath={.status.conditions[?(@.type=="ContainersReady")].status}=True"#;
    app.space.kubectl(&[
        "wait",
        "--timeout=60s",
        &format!("--for={containers}"),
        &format!("pod/{name}"),
    ]);
    assert_eq!(app.collector.lives()[0].begins().count(), 0);
    let open = r#"{"status":{"conditions":[{"type":"example.com/routed","status":"True"}]}}"#;
    app.space
        .kubectl(&["patch", "pod", &name, "--subresource=status", "-p", open]);
    app.reach();
    let flow = burst(&app, 10);
    let pods = app.pods();
    app.space.kubectl(&[
        "delete",
        "pod",
        text(&pods[0], "/metadata/name"),
        "--timeout=60s",
    ]);
    flow.end().nothing_failed();
    app.judge().clean(1);
}
