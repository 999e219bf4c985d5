//! Holds that meet an operator, or another call of their key.

use super::*;

#[tokio::test]
async fn what_was_confirmed_before_an_operator_enabled_it_lets_nobody_go() {
    let scene = Scene::serving().await;
    let slow = scene.enter(2).unwrap();
    let mut hold = scene.hold_as("both", &[1, 2], None).await;
    until(async || scene.gate(1).phase().state == State::Closed).await;
    scene.enable(1).await;
    let again = scene.enter(1).expect("it was enabled");
    drop(slow);
    until(async || scene.report(2).await.state == ServiceState::OutOfService).await;
    assert!(is_held(&mut hold), "the enabled one has work");
    drop(again);
}

#[tokio::test]
async fn a_server_that_stops_again_after_it_was_enabled_is_held_anew() {
    let scene = Scene::serving().await;
    let first = scene.enter(1).unwrap();
    let vanished = scene.hold(1).await;
    assert_eq!(scene.report(1).await.holds, 1);
    drop(vanished);
    scene.enable(1).await;
    assert_eq!(
        scene.report(1).await.holds,
        0,
        "nobody waits for it any more"
    );
    drop(first);
    let second = scene.enter(1).unwrap();
    let mut hold = scene.hold(1).await;
    assert!(scene.enter(1).is_none() && is_held(&mut hold));
    drop(second);
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
}

#[tokio::test]
async fn a_call_that_comes_again_after_an_operator_enabled_its_server_closes_the_gate_again() {
    let scene = Scene::serving().await;
    let work = scene.enter(2).unwrap();
    let mut first = scene.hold_as("one", &[1, 2], None).await;
    scene.enable(1).await;
    let mut again = scene.hold_as("one", &[1, 2], None).await;
    assert!(scene.enter(1).is_none());
    drop(work);
    assert_eq!(released(&mut first).await, released(&mut again).await);
}

#[tokio::test]
async fn at_its_deadline_a_hold_on_an_enabled_server_closes_its_gate_and_cuts() {
    let scene = Scene::serving().await;
    let grace = Some(Duration::from_millis(300));
    let before = scene.enter(1).unwrap();
    let mut hold = scene.hold_as("one", &[1], grace).await;
    assert!(scene.enter(1).is_none());
    scene.enable(1).await;
    let work = scene.enter(1).unwrap();
    until(async || !scene.workers.cut.lock().unwrap().is_empty()).await;
    assert!(scene.enter(1).is_none() && is_held(&mut hold));
    for cut in [before, work] {
        cut.count_cut();
        drop(cut);
    }
    let released = released(&mut hold).await;
    assert_eq!((released.cause, released.cut), (ReleaseCause::Deadline, 2));
}

#[tokio::test]
async fn one_key_for_two_servers_lets_neither_go_before_both_are_drained() {
    let scene = Scene::serving().await;
    let (one, two) = (scene.enter(1).unwrap(), scene.enter(2).unwrap());
    let mut first = scene.hold_as("same", &[1], None).await;
    let mut second = scene.hold_as("same", &[2], None).await;
    assert!(scene.enter(1).is_none() && scene.enter(2).is_none());
    drop(one);
    assert_eq!(scene.report(1).await.state, ServiceState::OutOfService);
    assert!(is_held(&mut first) && is_held(&mut second));
    drop(two);
    assert_eq!(released(&mut first).await, released(&mut second).await);
    assert_eq!(scene.report(1).await.holds + scene.report(2).await.holds, 0);
}

#[tokio::test]
async fn of_two_calls_of_one_key_the_earlier_deadline_holds() {
    let scene = Scene::serving().await;
    let work = scene.enter(1).unwrap();
    let mut first = scene.hold_as("one", &[1], None).await;
    let grace = Some(Duration::from_millis(200));
    let mut second = scene.hold_as("one", &[1], grace).await;
    for hold in [&mut first, &mut second] {
        assert_eq!(released(hold).await.cause, ReleaseCause::Deadline);
    }
    drop(work);
}

#[tokio::test]
async fn enabling_one_server_gives_no_work_to_another_that_is_held_with_it() {
    let scene = Scene::serving().await;
    let work = scene.enter(2).unwrap();
    // Its connection is lost for a moment.
    drop(scene.hold_as("both", &[1, 2], None).await);
    scene.enable(1).await;
    assert!(scene.enter(1).is_some() && scene.enter(2).is_none());
    let mut hold = scene.hold_as("both", &[1, 2], None).await;
    assert!(scene.enter(1).is_none() && is_held(&mut hold));
    drop(work);
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
}
