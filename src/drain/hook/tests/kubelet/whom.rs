//! Whom a call of the kubelet is for: nothing but an id says so, several pods may have it, and the API server may be
//! away.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shared_id_waits_for_all_who_stop_and_drains_nobody_else() {
    let named = [("a", true), ("b", true), ("c", false)];
    let scene = Scene::new(&["a", "b", "c", "d"], &named).await;
    let last = scene.enter("a").unwrap();
    let mut call = scene.call();
    scene.held(1).await;
    stays_held(&mut call, SECOND * 30).await;
    assert!(scene.enter("b").is_none() && scene.enter("c").is_some());
    drop(last);
    assert!(answer(call).await.starts_with("drained"));
    assert!(scene.is_open("c"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_told_to_stop_meanwhile_is_waited_for_as_well() {
    let scene = Scene::new(&["a", "b", "c"], &[("a", true), ("b", false)]).await;
    let (first, second) = (scene.enter("a").unwrap(), scene.enter("b").unwrap());
    let mut call = scene.call();
    scene.held(1).await;
    scene.name(&[("a", true), ("b", true)]);
    scene.change();
    scene.held(2).await;
    drop(first);
    stays_held(&mut call, SECOND * 30).await;
    drop(second);
    answer(call).await;
}

/// The watch lags behind: nothing but the second call says that there is a second pod that stops.
#[tokio::test(start_paused = true)]
async fn law_5_each_call_is_looked_up_anew() {
    let scene = Scene::new(&["a", "b", "c"], &[("a", true), ("b", false)]).await;
    let (first, second) = (scene.enter("a").unwrap(), scene.enter("b").unwrap());
    let one = scene.call();
    scene.held(1).await;
    scene.name(&[("a", true), ("b", true)]);
    drop(first);
    let mut other = scene.call();
    stays_held(&mut other, SECOND * 30).await;
    assert!(!scene.is_open("b"));
    drop(second);
    answer(one).await;
    answer(other).await;
}

/// As where a whole Deployment with one id is deleted.
#[tokio::test(start_paused = true)]
async fn calls_that_come_faster_than_one_can_look_begin_their_hold_all_the_same() {
    let scene = Scene::new(&["a", "b"], &[("a", true)]).await;
    let last = scene.enter("a").unwrap();
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(scene.call());
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(scene.holds().await, 1);
    drop(last);
    for call in calls {
        assert!(answer(call).await.starts_with("drained"));
    }
}

/// One of their containers is restarted, or their node goes down, and nobody can say which.
#[tokio::test(start_paused = true)]
async fn where_several_have_the_id_and_none_stops_nobody_is_drained() {
    let scene = Scene::new(&["a", "b", "c"], &[("a", false), ("b", false)]).await;
    let begin = Instant::now();
    let said = answer(scene.call()).await;
    assert!(
        said.contains("no pod with this id is being stopped"),
        "{said}"
    );
    let took = begin.elapsed();
    assert!((SECOND..SECOND * 4).contains(&took), "{took:?}");
    assert!(scene.is_open("a") && scene.is_open("b"));
    // What the API server says only now is waited for.
    let last = scene.enter("b").unwrap();
    let mut call = scene.call();
    sleep(SECOND).await;
    scene.name(&[("a", false), ("b", true)]);
    stays_held(&mut call, SECOND * 30).await;
    drop(last);
    answer(call).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_no_pod_has_is_answered_at_once() {
    let scene = Scene::new(&["a"], &[]).await;
    let begin = Instant::now();
    let said = answer(scene.call()).await;
    assert!(said.contains("no pod has this id"), "{said}");
    assert!(begin.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn law_5_an_unknown_id_is_held_while_the_api_server_is_away_and_not_for_ever() {
    let scene = Scene::new(&["a", "b"], &[]).await;
    scene.away(true);
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 24).await;
    let said = answer(call).await;
    assert!(said.contains("no word from the API server"), "{said}");
    // It comes back, and says whose it is.
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 10).await;
    let last = scene.enter("a").unwrap();
    scene.name(&[("a", true)]);
    scene.away(false);
    stays_held(&mut call, SECOND * 100).await;
    drop(last);
    assert!(answer(call).await.starts_with("drained"));
}

#[tokio::test(start_paused = true)]
async fn without_the_api_server_holds_are_held_and_released() {
    let scene = Scene::new(&["a", "b"], &[("a", false)]).await;
    scene.away(true);
    let last = scene.enter("a").unwrap();
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 30).await;
    assert!(!scene.is_open("a"));
    drop(last);
    assert!(answer(call).await.starts_with("drained"));
}

/// One of them is seen to stop; the call may be another's.
#[tokio::test(start_paused = true)]
async fn law_5_without_the_api_server_a_shared_id_waits_for_those_not_seen_to_stop() {
    let scene = Scene::new(&["a", "b", "c"], &[("a", true), ("b", false)]).await;
    scene.away(true);
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 60).await;
    assert!(!scene.is_open("a") && scene.is_open("b"));
    scene.away(false);
    answer(call).await;
    // It does not come back: not for ever.
    scene.away(true);
    let begin = Instant::now();
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 290).await;
    answer(call).await;
    assert!(begin.elapsed() < SECOND * 302);
}

#[tokio::test(start_paused = true)]
async fn who_proves_nothing_drains_a_pod_that_is_restarted() {
    let scene = Scene::new(&["a", "b"], &[("a", false)]).await;
    scene.cluster.life.lock().unwrap().evidence = Some(Evidence::Probe);
    let stuck = scene.enter("a").unwrap();
    let begin = Instant::now();
    let call = scene.call();
    scene.held(1).await;
    assert!(scene.enter("a").is_none());
    let said = answer(call).await;
    // restartTimeoutSeconds.
    assert!(said.starts_with("deadline after 10."), "{said}");
    assert!(begin.elapsed() < SECOND * 11);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn who_proves_nothing_never_drains_the_last_endpoint() {
    let scene = Scene::new(&["a"], &[("a", false)]).await;
    scene.cluster.life.lock().unwrap().evidence = Some(Evidence::Probe);
    let begin = Instant::now();
    let mut call = scene.call();
    for _ in 0..9 {
        stays_held(&mut call, SECOND).await;
        assert!(scene.enter("a").is_some());
    }
    let said = answer(call).await;
    assert!(said.starts_with("deadline after 10."), "{said}");
    assert!(begin.elapsed() < SECOND * 11);
    // Nor later, when there is another.
    sleep(SECOND).await;
    let both = pods(&[("a", None), ("b", None)]);
    scene.parts.draining.configure(both).await.unwrap();
    sleep(SECOND).await;
    assert!(scene.enter("a").is_some());
    assert_eq!(scene.holds().await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_endpoint_drains_as_any_when_its_pod_is_seen_to_stop() {
    let scene = Scene::new(&["a"], &[("a", false)]).await;
    let last = scene.enter("a").unwrap();
    let mut call = scene.call();
    stays_held(&mut call, SECOND * 200).await;
    assert!(scene.is_open("a"), "more than half of its time is gone");
    let configured = pods(&[("a", STOPPING)]);
    scene.parts.draining.configure(configured).await.unwrap();
    assert!(!scene.is_open("a"));
    drop(last);
    assert!(answer(call).await.starts_with("drained"));
}
