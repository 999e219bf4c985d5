//! What a limit lets through: by examples, by property, and by several threads at once.

use proptest::prelude::*;

use super::*;
use crate::model::{Filters, LoadBalancer, WeightedBackend};
use crate::proxy::samples;

fn limit(requests: u32, interval: Duration, burst: u32, per: LimitPer) -> RateLimit {
    RateLimit {
        requests,
        interval,
        burst,
        per,
    }
}

fn route(matches: Vec<Match>, limit: &RateLimit) -> Route {
    Route {
        hostnames: vec![],
        matches,
        filters: Some(Arc::new(Filters {
            rate_limit: Some(limit.clone()),
            ..Filters::default()
        })),
        backends: Vec::<WeightedBackend>::new(),
    }
}

fn limiter(limit: &RateLimit, epoch: Instant) -> Limiter {
    Limiter::new(&route(vec![], limit), limit, epoch, 1)
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_burst_comes_through_and_then_as_many_as_the_limit_says() {
    let start = Instant::now();
    let limiter = limiter(&limit(10, SECOND, 3, LimitPer::Route), start);
    let at = |millis| start + Duration::from_millis(millis);
    for _ in 0..3 {
        limiter.take(CLIENT, at(0)).unwrap();
    }
    // One is paid for in a tenth of a second.
    let wait = Duration::from_millis(100);
    assert_eq!(limiter.take(CLIENT, at(0)), Err(wait));
    assert_eq!(limiter.take(CLIENT, at(99)), Err(Duration::from_millis(1)));
    limiter.take(CLIENT, at(100)).unwrap();
    assert_eq!(limiter.take(OTHER, at(100)), Err(wait));
    // What was not used is saved up to a burst, and no further.
    for _ in 0..3 {
        limiter.take(CLIENT, at(60_000)).unwrap();
    }
    assert_eq!(limiter.take(CLIENT, at(60_000)), Err(wait));
}

#[test]
fn each_client_has_a_limit_of_its_own() {
    let start = Instant::now();
    let limiter = limiter(&limit(1, SECOND, 1, LimitPer::Client), start);
    limiter.take(CLIENT, start).unwrap();
    assert_eq!(limiter.take(CLIENT, start), Err(SECOND));
    limiter.take(OTHER, start).unwrap();
    assert_eq!(limiter.take(OTHER, start), Err(SECOND));
    limiter.take(CLIENT, start + SECOND).unwrap();
}

#[test]
fn the_slowest_limit_with_the_largest_burst_does_not_overflow() {
    let start = Instant::now();
    let hour = Duration::from_hours(1);
    let limiter = limiter(&limit(1, hour, 1_000_000, LimitPer::Route), start);
    for _ in 0..1_000_000 {
        limiter.take(CLIENT, start).unwrap();
    }
    assert_eq!(limiter.take(CLIENT, start), Err(hour));
}

#[test]
fn workers_that_ask_at_once_get_a_burst_together_and_no_more() {
    for per in [LimitPer::Route, LimitPer::Client] {
        let start = Instant::now();
        // So many that the workers do meet, on a busy machine too.
        let limiter = limiter(&limit(1, SECOND, 1_000_000, per), start);
        // A client that is new to two workers at once may get a few more: here it is known.
        limiter.take(CLIENT, start).unwrap();
        let taken: usize = std::thread::scope(|scope| {
            let asks = || {
                (0..500_000)
                    .filter(|_| limiter.take(CLIENT, start).is_ok())
                    .count()
            };
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(asks)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .sum()
        });
        assert_eq!(taken, 999_999, "{per:?}");
    }
}

proptest! {
    /// Over every stretch of time no more come through than a burst and what the stretch pays for; and one
    /// that was told to wait comes through when it has.
    #[test]
    fn no_stretch_of_time_has_more_than_its_share(
        requests in 1_u32..50,
        burst in 1_u32..20,
        steps in prop::collection::vec(0_u64..60, 1..200),
    ) {
        let start = Instant::now();
        let limiter = limiter(&limit(requests, SECOND, burst, LimitPer::Route), start);
        let mut now = start;
        let mut taken: Vec<Instant> = Vec::new();
        for step in steps {
            now += Duration::from_millis(step);
            match limiter.take(CLIENT, now) {
                Ok(()) => taken.push(now),
                Err(wait) => {
                    prop_assert!(wait > Duration::ZERO);
                    let just_before = now + wait.saturating_sub(Duration::from_nanos(1));
                    prop_assert!(limiter.take(CLIENT, just_before).is_err());
                    now += wait;
                    prop_assert!(limiter.take(CLIENT, now).is_ok());
                    taken.push(now);
                }
            }
        }
        for (first, from) in taken.iter().enumerate() {
            for (last, to) in taken.iter().enumerate().skip(first) {
                let share = (*to - *from).as_secs_f64() * f64::from(requests) + f64::from(burst);
                let count = f64::from(u32::try_from(last - first + 1).unwrap());
                prop_assert!(count <= share + 1e-6, "{count} in {:?}, not {share}", *to - *from);
            }
        }
    }
}

fn snapshot(routes: Vec<Route>) -> Snapshot {
    Snapshot {
        load_balancers: vec![LoadBalancer {
            routes,
            ..samples::load_balancer(&[])
        }],
        backends: vec![],
    }
}

#[test]
fn what_was_counted_counts_on_while_the_limit_and_its_route_stay() {
    let now = Instant::now();
    let slow = limit(1, SECOND, 1, LimitPer::Client);
    let a = || route(vec![Match::prefix("/a")], &slow);
    let b = || route(vec![Match::prefix("/b")], &slow);
    let unlimited = Route {
        filters: None,
        ..a()
    };
    let first = keep(&Limiters::new(), &snapshot(vec![a(), b()]), now, 1);
    let name = samples::load_balancer(&[]).name;
    let limiter = |all: &Limiters, at: usize| {
        let found = all[&name].iter().find(|(route, _)| *route == at);
        Arc::clone(&found.expect("limited").1)
    };
    // Another route before them, another order, other backends.
    let mut moved = b();
    moved.backends.clear();
    let second = keep(
        &first,
        &snapshot(vec![unlimited.clone(), moved, a()]),
        now,
        2,
    );
    assert!(Arc::ptr_eq(&limiter(&second, 1), &limiter(&first, 1)));
    assert!(Arc::ptr_eq(&limiter(&second, 2), &limiter(&first, 0)));
    assert_eq!(second[&name].len(), 2);
    // Two that are alike each keep their own.
    let twins = keep(&first, &snapshot(vec![a(), a()]), now, 3);
    assert!(!Arc::ptr_eq(&limiter(&twins, 0), &limiter(&twins, 1)));
    // Another limit, or none.
    let faster = limit(2, SECOND, 1, LimitPer::Client);
    let third = keep(
        &first,
        &snapshot(vec![route(vec![Match::prefix("/a")], &faster)]),
        now,
        4,
    );
    assert!(!Arc::ptr_eq(&limiter(&third, 0), &limiter(&first, 0)));
    assert!(keep(&first, &snapshot(vec![unlimited]), now, 5).is_empty());
}
