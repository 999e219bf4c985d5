//! The router with any routes and any request, against a look at every route.

use lastcall_fuzz::{Choices, Shown, fuzz, message, routes};

#[test]
fn a_request_goes_where_a_look_at_every_route_says() {
    let seeds = routes::seeds();
    fuzz!(512, 20_000, |choices: &mut Choices<'_>| {
        // Half of them as they are: what is changed is often no request any more.
        let input = if choices.below(2) == 0 {
            seeds[choices.below(seeds.len())].clone()
        } else {
            message(choices, &seeds)
        };
        let _shown = Shown(&input);
        let load_balancer = routes::load_balancer(choices);
        routes::check(&load_balancer, &input);
    });
}
