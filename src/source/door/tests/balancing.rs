//! What is written of balancing, limits and retry budgets.

use super::*;

#[test]
#[rustfmt::skip] // one row a line
fn what_is_no_way_to_share_requests_is_refused_with_its_field() {
    let balance = |yaml: &str| static_and(&format!("  balance: {{{yaml}}}\n"));
    let limits = |yaml: &str| static_and(&format!("  limits: {{{yaml}}}\n"));
    let budget = |yaml: &str| static_and(&format!("  retry: {{budget: {{{yaml}}}}}\n"));
    for (text, line, field, words) in [
        (balance("policy: Hashed"), 6, "spec.balance.policy", "allowed: RoundRobin, LeastRequest, Random, Hash"),
        (balance("policy: Hash"), 6, "spec.balance.hash", "write hash: {header: NAME}"),
        (balance("policy: Random, hash: {source: true}"), 6, "spec.balance.hash", "hash goes with policy Hash"),
        (balance("hash: {source: true}"), 6, "spec.balance.hash", "hash goes with policy Hash"),
        (balance("policy: Hash, hash: {}"), 6, "spec.balance.hash", "exactly one of header: NAME"),
        (balance("policy: Hash, hash: {source: false}"), 6, "spec.balance.hash", "exactly one of header: NAME"),
        (balance("policy: Hash, hash: {header: A, cookie: b}"), 6, "spec.balance.hash", "exactly one of header: NAME"),
        (balance("policy: Hash, hash: {header: A, source: true}"), 6, "spec.balance.hash", "exactly one of header: NAME"),
        (balance("policy: Hash, hash: {header: 'a b'}"), 6, "spec.balance.hash.header", "matches"),
        (balance("policy: Hash, hash: {cookie: ''}"), 6, "spec.balance.hash.cookie", "matches"),
        (balance("policy: Hash, hash: {query: a}"), 6, "spec.balance.hash.query", "no such field"),
        (balance("slowStartSeconds: 0"), 6, "spec.balance.slowStartSeconds", "from 1 to 3600"),
        (balance("slowStartSeconds: 30s"), 6, "spec.balance.slowStartSeconds", "whole number"),
        (balance("policy: Hash, hash: {source: true}, slowStartSeconds: 3"), 6, "spec.balance.slowStartSeconds", "does not go with policy Hash"),
        (static_and("  protocol: TCP\n  balance: {policy: Hash, hash: {header: A}}\n"), 7, "spec.balance.hash", "only the source is known"),
        (static_and("  protocol: TCP\n  balance: {policy: Hash, hash: {cookie: a}}\n"), 7, "spec.balance.hash", "only the source is known"),
        (limits(""), 6, "spec.limits.maxInFlight", "missing"),
        (limits("maxInFlight: 0"), 6, "spec.limits.maxInFlight", "from 1 to 1000000"),
        (limits("queue: {length: 1, wait: 1s}"), 6, "spec.limits.maxInFlight", "missing"),
        (limits("maxInFlight: 1, queue: {wait: 1s}"), 6, "spec.limits.queue.length", "missing"),
        (limits("maxInFlight: 1, queue: {length: 1}"), 6, "spec.limits.queue.wait", "missing"),
        (limits("maxInFlight: 1, queue: {length: 0, wait: 1s}"), 6, "spec.limits.queue.length", "from 1 to 100000"),
        (limits("maxInFlight: 1, queue: {length: 1, wait: 0s}"), 6, "spec.limits.queue.wait", "longer than 0s"),
        (limits("maxInFlight: 1, queue: {length: 1, wait: soon}"), 6, "spec.limits.queue.wait", "a duration such as"),
        (budget("percent: 101"), 6, "spec.retry.budget.percent", "from 0 to 100"),
        (budget("minPerSecond: -1"), 6, "spec.retry.budget.minPerSecond", "from 0 to 10000"),
        (budget("interval: 500ms"), 6, "spec.retry.budget.interval", "from 1s to 1h"),
        (budget("interval: 2h"), 6, "spec.retry.budget.interval", "from 1s to 1h"),
        (budget("ttl: 1s"), 6, "spec.retry.budget.ttl", "no such field"),
        (static_and("  protocol: TCP\n  retry: {budget: {}}\n"), 7, "spec.retry", "retry is for HTTP"),
    ] {
        refused(&text, line, field, words);
    }
    for text in [
        balance("policy: Random, slowStartSeconds: 30"),
        balance("policy: Hash, hash: {header: X-User}"),
        balance("policy: Hash, hash: {cookie: session}"),
        static_and("  protocol: TCP\n  balance: {policy: Hash, hash: {source: true}}\n  limits: {maxInFlight: 3}\n"),
        limits("maxInFlight: 1, queue: {length: 1, wait: 1ms}"),
        budget(""),
        budget("percent: 0, minPerSecond: 0, interval: 1h"),
    ] {
        if let Err(violations) = admit(&text) {
            panic!("{violations:#?}\n{text}");
        }
    }
}

#[test]
fn what_the_page_about_it_shows_passes() {
    let page = include_str!("../../../../docs/balancing.md");
    let blocks = page.split("```yaml\n").skip(1);
    let mut objects = 0;
    for block in blocks.filter_map(|rest| rest.split("```").next()) {
        for object in block.split("---\n") {
            if let Err(violations) = admit(object) {
                panic!("{violations:#?}\n{object}");
            }
            objects += 1;
        }
    }
    assert_eq!(objects, 2);
}
