//! The router with any routes and any request, against a look at every route.

use std::time::Duration;

use bolero::check;
use lastcall_fuzz::{Choices, Shown, message, routes};

/// Runs in the quick suite, about a second.
const ITERATIONS: usize = 20_000;

/// For how long, and how often at most.
fn effort() -> (Duration, usize) {
    match std::env::var("LASTCALL_FUZZ_SECONDS") {
        Ok(text) => {
            let seconds = text
                .parse()
                .expect("LASTCALL_FUZZ_SECONDS is a number of seconds");
            (Duration::from_secs(seconds), usize::MAX)
        }
        Err(_) => (Duration::from_secs(20), ITERATIONS),
    }
}

#[test]
fn a_request_goes_where_a_look_at_every_route_says() {
    let seeds = routes::seeds();
    let (time, iterations) = effort();
    check!()
        .with_test_time(time)
        .with_iterations(iterations)
        .with_max_len(512)
        .for_each(|bytes: &[u8]| {
            let mut choices = Choices::new(bytes);
            // Half of them as they are: what is changed is often no request any more.
            let input = if choices.below(2) == 0 {
                seeds[choices.below(seeds.len())].clone()
            } else {
                message(&mut choices, &seeds)
            };
            let _shown = Shown(&input);
            let load_balancer = routes::load_balancer(&mut choices);
            routes::check(&load_balancer, &input);
        });
}
