//! From a listener, a host and a path to the Backend that serves the request. Built by each worker from
//! a snapshot, read-only but for whose turn it is among weighted Backends.
//!
//! The most specific match wins, as in Gateway API: an exact host over the longest wildcard over none,
//! then the longest path prefix, then what was written first.

use std::collections::HashMap;

use super::balance::RoundRobin;
use crate::model::{HostPattern, Listener, LoadBalancer, Route, WeightedBackend};

/// The routes of one LoadBalancer.
#[derive(Debug)]
pub struct Router {
    exact: HashMap<Box<str>, Vec<Rule>>,
    /// By what follows the `*`, with its leading dot.
    suffix: HashMap<Box<str>, Vec<Rule>>,
    any: Vec<Rule>,
    default: Option<Choice>,
}

#[derive(Debug)]
struct Rule {
    prefix: Box<str>,
    choice: usize,
    choices: std::rc::Rc<Vec<Choice>>,
}

/// The Backends of one route, and whose turn it is.
#[derive(Debug)]
struct Choice {
    backends: Vec<WeightedBackend>,
    turn: RoundRobin,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Destination {
    /// To this Backend.
    To(WeightedBackend),
    /// A route matches, but none of its Backends resolved: 503.
    Unresolved,
    /// No route matches, and there is no default: 404.
    None,
}

impl Choice {
    fn new(backends: &[WeightedBackend], start: usize) -> Self {
        let weights: Vec<u32> = backends.iter().map(|b| b.weight).collect();
        Self {
            backends: backends.to_vec(),
            turn: RoundRobin::over(&weights, start),
        }
    }

    fn next(&self) -> Destination {
        let taken = |at: usize| self.backends[at].weight > 0;
        match self.turn.turn(self.backends.len(), taken) {
            Some(at) => Destination::To(self.backends[at]),
            None => Destination::Unresolved,
        }
    }
}

impl Router {
    /// The routes of `load_balancer`. `start` spreads the workers over weighted Backends.
    pub fn new(load_balancer: &LoadBalancer, start: usize) -> Self {
        Self::over(&load_balancer.routes, load_balancer.default_backend, start)
    }

    /// These routes, and a default for what none of them matches.
    pub fn over(routes: &[Route], default: Option<WeightedBackend>, start: usize) -> Self {
        let choices: Vec<_> = routes
            .iter()
            .map(|r| Choice::new(&r.backends, start))
            .collect();
        let choices = std::rc::Rc::new(choices);
        let mut router = Self {
            exact: HashMap::new(),
            suffix: HashMap::new(),
            any: Vec::new(),
            default: default.map(|b| Choice::new(&[b], 0)),
        };
        for (at, route) in routes.iter().enumerate() {
            router.add(at, route, &choices);
        }
        let all = router.exact.values_mut().chain(router.suffix.values_mut());
        for rules in all.chain([&mut router.any]) {
            // Stable: of two alike the first written stays first.
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
        }
        router
    }

    fn add(&mut self, at: usize, route: &Route, choices: &std::rc::Rc<Vec<Choice>>) {
        let all = ["/".into()];
        let prefixes: &[Box<str>] = if route.path_prefixes.is_empty() {
            &all
        } else {
            &route.path_prefixes
        };
        let rules = || {
            prefixes.iter().map(|prefix| Rule {
                // `/api/` and `/api` mean the same (Gateway API, PathMatchPathPrefix).
                prefix: prefix.trim_end_matches('/').into(),
                choice: at,
                choices: choices.clone(),
            })
        };
        if route.hostnames.is_empty() {
            self.any.extend(rules());
        }
        for host in &route.hostnames {
            let (hosts, name) = match host {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Suffix(suffix) => (&mut self.suffix, suffix),
            };
            hosts.entry(name.clone()).or_default().extend(rules());
        }
    }

    /// Where a request for `host` (lower case, no port) and `path` (no query) goes.
    pub fn route(&self, host: &str, path: &[u8]) -> Destination {
        let exact = self.exact.get(host).into_iter();
        // `a.b.c`: first `.b.c`, then `.c`.
        let dots = host.match_indices('.').map(|(at, _)| &host[at..]);
        let suffixes = dots
            .filter(|s| s.len() < host.len())
            .filter_map(|s| self.suffix.get(s));
        let any = std::iter::once(&self.any);
        for rules in exact.chain(suffixes).chain(any) {
            if let Some(rule) = rules.iter().find(|rule| rule.covers(path)) {
                return rule.choices[rule.choice].next();
            }
        }
        self.default
            .as_ref()
            .map_or(Destination::None, Choice::next)
    }
}

impl Rule {
    /// Whole segments: `/api` covers `/api` and `/api/x`, not `/apix`.
    fn covers(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.prefix.as_bytes())
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')) || self.prefix.is_empty())
    }
}

/// Whether a listener takes requests for `host`.
pub fn listener_serves(listener: &Listener, host: &str) -> bool {
    listener
        .hostname
        .as_ref()
        .is_none_or(|pattern| pattern.matches(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ObjectName, Retry, RouteTimeouts};

    fn to(backend: usize, weight: u32) -> WeightedBackend {
        WeightedBackend {
            backend,
            weight,
            timeouts: RouteTimeouts::default(),
            retry: Retry::default(),
        }
    }

    fn route(hosts: &[&str], prefixes: &[&str], backends: Vec<WeightedBackend>) -> Route {
        Route {
            hostnames: hosts.iter().map(|h| HostPattern::new(h)).collect(),
            path_prefixes: prefixes.iter().map(|p| (*p).into()).collect(),
            backends,
        }
    }

    fn router(routes: Vec<Route>, default: Option<usize>) -> Router {
        let load_balancer = LoadBalancer {
            name: ObjectName::new("default", "lb"),
            listeners: vec![],
            routes,
            default_backend: default.map(|b| to(b, 1)),
            streams: crate::model::StreamRoutes::default(),
            limits: crate::model::Limits::default(),
            timeouts: crate::model::ClientTimeouts::default(),
            allowed_sources: vec![],
            trusted_proxies: vec![],
        };
        Router::new(&load_balancer, 0)
    }

    fn goes(router: &Router, host: &str, path: &str) -> Option<usize> {
        match router.route(host, path.as_bytes()) {
            Destination::To(choice) => Some(choice.backend),
            Destination::Unresolved | Destination::None => None,
        }
    }

    #[test]
    fn the_most_specific_match_wins() {
        let router = router(
            vec![
                route(&[], &["/"], vec![to(0, 1)]),
                route(&["*.example.com"], &[], vec![to(1, 1)]),
                route(&["*.b.example.com"], &["/api/"], vec![to(2, 1)]),
                route(&["a.b.example.com"], &["/x"], vec![to(3, 1)]),
                route(&["a.b.example.com"], &["/x/y"], vec![to(4, 1)]),
            ],
            Some(9),
        );
        let rows = [
            ("other.org", "/", 0),
            ("example.com", "/", 0),
            ("c.example.com", "/api", 1),
            ("c.b.example.com", "/api", 2),
            ("c.b.example.com", "/api/z", 2),
            ("c.b.example.com", "/apiz", 1),
            ("a.b.example.com", "/x", 3),
            ("a.b.example.com", "/x/yy", 3),
            ("a.b.example.com", "/x/y/z", 4),
            ("a.b.example.com", "/api", 2),
            ("", "/", 0),
            ("", "*", 0),
        ];
        for (host, path, backend) in rows {
            assert_eq!(goes(&router, host, path), Some(backend), "{host}{path}");
        }
    }

    #[test]
    fn what_nothing_matches_goes_to_the_default_or_nowhere() {
        let only = || vec![route(&["a"], &[], vec![to(0, 1)])];
        assert_eq!(goes(&router(only(), Some(7)), "b", "/"), Some(7));
        assert_eq!(router(only(), None).route("b", b"/"), Destination::None);
    }

    #[test]
    fn a_route_whose_backends_are_unresolved_does_not_fall_to_the_default() {
        let router = router(vec![route(&["a"], &[], vec![])], Some(7));
        assert_eq!(router.route("a", b"/"), Destination::Unresolved);
    }

    #[test]
    fn weights_divide_a_route() {
        let router = router(
            vec![route(&[], &[], vec![to(0, 9), to(1, 1), to(2, 0)])],
            None,
        );
        let picks: Vec<_> = (0..100).filter_map(|_| goes(&router, "x", "/")).collect();
        let count = |b| picks.iter().filter(|p| **p == b).count();
        assert_eq!((count(0), count(1), count(2)), (90, 10, 0));
    }
}
