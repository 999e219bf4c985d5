//! Holds whose caller has vanished (Law 6), on paused time.

use super::*;

/// A hold whose caller has vanished, on a server that has drained since.
async fn unheard() -> Scene {
    let scene = Scene::serving().await;
    let last = scene.enter(1).unwrap();
    drop(scene.hold(1).await);
    drop(last);
    until(async || scene.report(1).await.state == ServiceState::OutOfService).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn law_6_a_server_whose_caller_vanished_unreleased_serves_again_after_30_seconds() {
    let scene = unheard().await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(scene.enter(1).is_none());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(scene.enter(1).is_some());
    assert_eq!(scene.report(1).await.holds, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_comes_back_is_told_that_its_server_has_drained() {
    let scene = unheard().await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(scene.holds_told(), 1);
    let mut hold = scene.hold(1).await;
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
    assert_eq!(scene.holds_told(), 0);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(
        scene.enter(1).is_none(),
        "a released server gets nothing more"
    );
}

#[tokio::test(start_paused = true)]
async fn law_1_what_was_confirmed_to_nobody_lets_go_of_nobody_later() {
    let scene = unheard().await;
    scene.enable(1).await;
    let last = scene.enter(1).unwrap();
    let mut hold = scene.hold(1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(is_held(&mut hold));
    assert_eq!(scene.report(1).await.holds, 1);
    drop(last);
    assert_eq!(released(&mut hold).await.cause, ReleaseCause::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_hold_without_a_caller_ends_when_its_server_was_looked_up() {
    for (leaving, serves) in [
        (Leaving::No, true),
        (Leaving::Yes, false),
        (Leaving::Unknown, false),
    ] {
        let scene = Scene::with(Workers::default(), leaving);
        let policy = DrainPolicy {
            timeout: Duration::from_secs(10),
            ..DrainPolicy::default()
        };
        let configured = snapshot(&[1, 2], policy);
        scene.handle.configure(configured).await.unwrap();
        let last = scene.enter(1).unwrap();
        drop(scene.hold(1).await);
        drop(last);
        // Its deadline lets go of nobody, and says nothing of its server.
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(scene.report(1).await.holds, 1, "{leaving:?}");
        assert!(scene.enter(1).is_none(), "{leaving:?}");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(scene.report(1).await.holds, 0, "{leaving:?}");
        assert_eq!(scene.holds_told(), 0, "{leaving:?}");
        assert_eq!(scene.enter(1).is_some(), serves, "{leaving:?}");
    }
}
