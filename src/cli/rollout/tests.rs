//! Whole rollouts in a small world.

mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::moving::Mover;
use super::patience::Progress;
use super::report::{Action, Rolled};
use super::workload::{Kind, Workload};
use super::{How, roll};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::cluster::Cluster;
use crate::cli::cluster::test_server;
use world::{FOREVER, InMemory, PODS, Shared};

/// What came of a rollout.
struct Ended {
    rolled: Rolled,
    result: Result<(), Failure>,
    lines: Vec<String>,
}

impl Ended {
    fn actions(&self) -> Vec<Action> {
        self.rolled.pods.iter().map(|row| row.action).collect()
    }

    fn code(&self) -> u8 {
        self.result.as_ref().map_or_else(Failure::exit_code, |()| 0)
    }

    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }

    #[track_caller]
    fn said(&self, part: &str) {
        let found = self.lines.iter().any(|line| line.contains(part));
        assert!(found, "{part} is not in {:#?}", self.lines);
    }
}

const EARNEST: How = How {
    all: false,
    dry_run: false,
};

fn server(world: &Shared) -> Cluster {
    let world = world.clone();
    test_server::cluster(move |asked| world.lock().answer(asked)).0
}

async fn rollout(world: &Shared, how: How) -> Ended {
    rollout_until(world, how, std::future::pending()).await
}

async fn rollout_until(world: &Shared, how: How, interrupted: impl Future<Output = ()>) -> Ended {
    let cluster = server(world);
    let lastcall = Client::new(Arc::new(InMemory(world.clone())));
    let workload = Workload::read(&cluster, Kind::Deployment, "shop", "app")
        .await
        .unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let progress = Progress::new(move |line| told.lock().unwrap().push(line.to_owned()));
    let mover = Mover {
        cluster: &cluster,
        lastcall: &lastcall,
        workload: &workload,
        limit: Duration::from_mins(10),
        progress: &progress,
    };
    let (rolled, result) = roll(&mover, how, interrupted).await.unwrap();
    let lines = lines.lock().unwrap().clone();
    Ended {
        rolled,
        result,
        lines,
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_nothing_holds_are_drained_evicted_and_replaced_one_by_one() {
    let world = Shared::of(&[("a", false), ("b", true), ("c", false)], |_| {});
    let ended = rollout(&world, EARNEST).await;
    ended.result.as_ref().unwrap();
    assert_eq!(
        ended.actions(),
        [Action::Moved, Action::LeftAlone, Action::Moved]
    );
    assert_eq!(
        world.done(),
        ["a Draining", "a evicted", "c Draining", "c evicted"]
    );
    assert_eq!(ended.rolled.pods[0].replaced_by, ["new-1"]);
    assert!(ended.rolled.pods[0].drain_millis.is_some());
    for part in [
        "a: drains: 2 in flight",
        "a: drained",
        "new-1 is ready, and not yet in service in Backend default/web",
    ] {
        ended.said(part);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_refuses_is_asked_again() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.refusals = 3;
    });
    let ended = rollout(&world, EARNEST).await;
    ended.result.as_ref().unwrap();
    ended.said("a: eviction refused for now: it would violate");
    assert_eq!(world.done(), ["a Draining", "a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_evicted_is_put_back() {
    for (change, code, says) in [
        // A budget that never lets it go.
        (
            (FOREVER, None),
            3,
            "disruption budget, when its time was over (--timeout)",
        ),
        ((0, Some(500)), 1, "pod a cannot be evicted: this pod"),
        (
            (0, Some(403)),
            4,
            "not allowed to create pods/eviction in namespace shop",
        ),
    ] {
        let world = Shared::of(&[("a", false), ("b", true), ("c", false)], |world| {
            (world.refusals, world.eviction) = change;
        });
        let ended = rollout(&world, EARNEST).await;
        assert_eq!(
            ended.actions(),
            [Action::PutBack, Action::LeftAlone, Action::NotBegun]
        );
        assert_eq!(world.done(), ["a Draining", "a back"]);
        assert_eq!(ended.code(), code);
        assert!(ended.error().contains(says), "{}", ended.error());
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_patched_is_not_touched() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.patch = Some(403);
    });
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.actions(), [Action::Failed, Action::LeftAlone]);
    let error = ended.error();
    assert!(
        error.starts_with("not allowed to patch pods in namespace shop"),
        "{error}"
    );
    assert!(!error.contains("put back"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_puts_the_pod_back_and_ends() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.pods[0].looks = FOREVER;
    });
    let interrupted = tokio::time::sleep(Duration::from_secs(20));
    let ended = rollout_until(&world, EARNEST, interrupted).await;
    assert_eq!(ended.code(), 130);
    assert_eq!(ended.actions(), [Action::PutBack, Action::LeftAlone]);
    assert_eq!(world.done(), ["a Draining", "a back"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_an_operator_has_drained_is_put_back_as_that() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.eviction = Some(500);
    });
    world.lock().pods[0].state = Some("Draining".to_owned());
    let (cluster, _) = {
        let world = world.clone();
        test_server::cluster(move |asked| {
            let (code, mut body) = world.lock().answer(asked);
            if let Some(pods) = body["items"]
                .as_array_mut()
                .filter(|_| asked.line() == format!("GET {PODS}"))
            {
                pods[0]["metadata"]["annotations"] =
                    json!({"lastcall.dev/admin-state": "Draining"});
            }
            (code, body)
        })
    };
    let lastcall = Client::new(Arc::new(InMemory(world.clone())));
    let workload = Workload::read(&cluster, Kind::Deployment, "shop", "app")
        .await
        .unwrap();
    let progress = Progress::new(|_| {});
    let mover = Mover {
        cluster: &cluster,
        lastcall: &lastcall,
        workload: &workload,
        limit: Duration::from_mins(1),
        progress: &progress,
    };
    let (_, result) = roll(&mover, EARNEST, std::future::pending()).await.unwrap();
    assert_eq!(result.unwrap_err().exit_code(), 1);
    assert_eq!(world.done(), ["a Draining", "a Draining"]);
}

#[tokio::test(start_paused = true)]
async fn the_only_endpoint_of_a_backend_is_left_alone_with_advice() {
    let world = Shared::of(&[("a", false)], |_| {});
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.actions(), [Action::Failed]);
    let error = ended.error();
    for part in [
        "only endpoint of Backend default/web",
        "kubectl scale deployment/app --namespace shop --replicas=2",
        "then back to 1",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(world.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_stops_when_a_replacement_is_not_held_either() {
    let world = Shared::of(&[("a", false), ("b", false)], |world| {
        world.no_webhook = true;
    });
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.actions(), [Action::Moved, Action::NotBegun]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.error().contains("new-1: container app has no hook"),
        "{}",
        ended.error()
    );
    assert_eq!(world.done(), ["a Draining", "a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing() {
    let world = Shared::of(&[("a", false), ("b", true)], |_| {});
    let how = How {
        dry_run: true,
        ..EARNEST
    };
    let ended = rollout(&world, how).await;
    assert_eq!(ended.actions(), [Action::WouldMove, Action::LeftAlone]);
    assert!(world.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_held_are_evicted_as_they_are_where_all_are_to_move() {
    // The only one too: its own hook keeps it serving until the replacement does.
    let world = Shared::of(&[("a", true)], |_| {});
    let how = How {
        all: true,
        ..EARNEST
    };
    let ended = rollout(&world, how).await;
    ended.result.as_ref().unwrap();
    assert_eq!(ended.actions(), [Action::Moved]);
    assert_eq!(world.done(), ["a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn law_5_a_lastcall_that_starts_anew_does_not_make_a_pod_drained() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.unknowing = 5;
    });
    let ended = rollout(&world, EARNEST).await;
    // The world itself fails an eviction that comes too early.
    ended.result.as_ref().unwrap();
    ended.said("lastcall is not ready");
    assert_eq!(world.done(), ["a Draining", "a evicted"]);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_that_conflicts_is_asked_again_while_the_pod_stays() {
    let world = Shared::of(&[("a", false), ("b", true)], |world| {
        world.eviction = Some(409);
    });
    let ended = rollout(&world, EARNEST).await;
    assert_eq!(ended.code(), 3);
    assert_eq!(ended.actions(), [Action::PutBack, Action::LeftAlone]);
    assert_eq!(world.done(), ["a Draining", "a back"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_put_back_is_told_with_the_command_that_does() {
    for (back, action, told) in [
        // Another has its name by now: nothing to put back.
        (422, Action::PutBack, false),
        (403, Action::Failed, true),
    ] {
        let world = Shared::of(&[("a", false), ("b", true)], |world| {
            world.eviction = Some(500);
            world.back = Some(back);
        });
        let ended = rollout(&world, EARNEST).await;
        assert_eq!(ended.actions(), [action, Action::LeftAlone]);
        let error = ended.error();
        let undo = "kubectl annotate pod a --namespace shop lastcall.dev/admin-state-";
        assert_eq!(error.contains(undo), told, "{error}");
    }
}
