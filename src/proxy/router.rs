//! From a request to the Backend that serves it. Built by each worker from a snapshot, read-only but for
//! whose turn it is among weighted Backends.
//!
//! The most specific match wins, as in Gateway API (HTTPRouteRule): an exact host over the longest wildcard
//! over none; then an exact path over a regular expression over the longest prefix; then one with a method,
//! then the one with more headers, then with more query parameters, then what was written first. Where
//! Gateway API leaves open what a regular expression is to be, it comes before prefixes, or `/` would hide
//! each of them.
//!
//! What a look-up costs depends on the request (its labels and segments, never more than the longest that is
//! configured) and on the routes of its own host and path that only method, headers or query tell apart, not
//! on how many hosts and routes there are. Regular expressions are the exception: those of one host are tried
//! one after the other.

mod paths;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::balance::RoundRobin;
use super::filters::Filtered;
use super::http1::Field;
use super::rate_limit::Limiter;
use crate::model::{Filters, HostPattern, Listener, LoadBalancer, Route, WeightedBackend};
use paths::Paths;
use rule::Rule;

/// The longest name of a host (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// The routes of one LoadBalancer.
#[derive(Debug)]
pub struct Router {
    exact: HashMap<Box<str>, Paths>,
    /// By what follows the `*`, with its leading dot.
    suffix: HashMap<Box<str>, Paths>,
    /// The most dots that a key of `suffix` has: no longer ones are looked for, however long a host is.
    suffix_dots: usize,
    any: Paths,
    /// By the route's place in the LoadBalancer.
    choices: Vec<Choice>,
    default: Option<Choice>,
}

/// The Backends of one route, and whose turn it is.
#[derive(Debug)]
struct Choice {
    backends: Vec<WeightedBackend>,
    turn: RoundRobin,
    filters: Option<Arc<Filters>>,
    limiter: Option<Arc<Limiter>>,
}

/// What a request is matched by.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its host in lower case, without port; empty where it names none.
    pub host: &'a str,
    /// Its path without query, at least `/`; `*` for the asterisk form.
    pub path: &'a [u8],
    /// What follows the `?`; empty where there is none.
    pub query: &'a [u8],
    /// Its method.
    pub method: &'a [u8],
    /// Its fields, and the bytes that they lie in.
    pub fields: &'a [Field],
    /// See `fields`.
    pub buf: &'a [u8],
}

/// The route that a request fits, or the default.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    choice: &'a Choice,
    prefix: usize,
}

impl<'a> Found<'a> {
    /// The Backend whose turn it is; `None` where none of the route's is there: 503.
    pub fn backend(&self) -> Option<WeightedBackend> {
        let backends = &self.choice.backends;
        let taken = |at: usize| backends[at].weight > 0;
        let at = self.choice.turn.turn(backends.len(), taken)?;
        Some(backends[at])
    }

    /// What else the route does with the request.
    pub fn filtered(&self) -> Option<Filtered<'a>> {
        let filters = self.choice.filters.as_deref()?;
        let prefix = self.prefix;
        Some(Filtered {
            filters,
            prefix,
            mirror_key: 0,
        })
    }

    /// What counts the route's requests, where they are limited.
    pub fn limiter(&self) -> Option<&'a Limiter> {
        self.choice.limiter.as_deref()
    }
}

/// The rule that a request fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hit {
    /// Its route's place in the LoadBalancer.
    route: usize,
    /// Bytes of the path that a prefix matched; 0 where it was no prefix.
    prefix: usize,
}

impl Choice {
    fn new(backends: &[WeightedBackend], filters: Option<&Arc<Filters>>, start: usize) -> Self {
        let weights: Vec<u32> = backends.iter().map(|b| b.weight).collect();
        Self {
            backends: backends.to_vec(),
            turn: RoundRobin::over(&weights, start),
            filters: filters.cloned(),
            limiter: None,
        }
    }
}

impl Router {
    /// The routes of `load_balancer`, with the limiters of those that are limited. `start` spreads the workers
    /// over weighted Backends.
    pub fn new(
        load_balancer: &LoadBalancer,
        limiters: &[(usize, Arc<Limiter>)],
        start: usize,
    ) -> Self {
        let default = load_balancer.default_backend;
        let mut router = Self::over(&load_balancer.routes, default, start);
        for (at, limiter) in limiters {
            router.choices[*at].limiter = Some(Arc::clone(limiter));
        }
        router
    }

    /// These routes, and a default for what none of them matches.
    pub fn over(routes: &[Route], default: Option<WeightedBackend>, start: usize) -> Self {
        let choice = |r: &Route| Choice::new(&r.backends, r.filters.as_ref(), start);
        let mut router = Self {
            exact: HashMap::new(),
            suffix: HashMap::new(),
            suffix_dots: 0,
            any: Paths::default(),
            choices: routes.iter().map(choice).collect(),
            default: default.map(|backend| Choice::new(&[backend], None, 0)),
        };
        for (at, route) in routes.iter().enumerate() {
            router.add(at, route);
        }
        let hosts = router.exact.values_mut().chain(router.suffix.values_mut());
        for paths in hosts.chain([&mut router.any]) {
            paths.finish();
        }
        router
    }

    fn add(&mut self, at: usize, route: &Route) {
        for pattern in &route.matches {
            let rule = Rule::new(at, pattern);
            if route.hostnames.is_empty() {
                self.any.add(&pattern.path, rule);
                continue;
            }
            for host in &route.hostnames {
                self.paths(host).add(&pattern.path, rule.clone());
            }
        }
    }

    /// Those of one host.
    fn paths(&mut self, host: &HostPattern) -> &mut Paths {
        let (hosts, name) = match host {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Suffix(suffix) => {
                let dots = suffix.matches('.').count();
                self.suffix_dots = self.suffix_dots.max(dots);
                (&mut self.suffix, suffix)
            }
        };
        hosts.entry(name.clone()).or_default()
    }

    /// Where a request goes; `None` where no route is for it and there is no default: 404.
    pub fn route(&self, asked: &Asked<'_>) -> Option<Found<'_>> {
        let (choice, prefix) = match self.find(asked) {
            Some(hit) => (&self.choices[hit.route], hit.prefix),
            None => (self.default.as_ref()?, 0),
        };
        Some(Found { choice, prefix })
    }

    /// The most specific rule that it fits.
    fn find(&self, asked: &Asked<'_>) -> Option<Hit> {
        // No longer name can be configured: what is one is not even hashed.
        let name = Some(asked.host).filter(|host| host.len() <= MAX_NAME);
        let exact = name.and_then(|host| self.exact.get(host));
        let found = exact.and_then(|paths| paths.find(asked));
        found
            .or_else(|| {
                let mut wildcards = self
                    .suffixes(asked.host)
                    .filter_map(|suffix| self.suffix.get(suffix));
                wildcards.find_map(|paths| paths.find(asked))
            })
            .or_else(|| self.any.find(asked))
    }

    /// The ends of a host that a wildcard could be for, the longest first: of `a.b.c` `.b.c`, then `.c`.
    fn suffixes<'h>(&self, host: &'h str) -> impl Iterator<Item = &'h str> {
        let dots = host.rmatch_indices('.').take(self.suffix_dots);
        let start = dots.last().map_or(host.len(), |(at, _)| at);
        let longest = &host[start..];
        longest
            .match_indices('.')
            .map(|(at, _)| &longest[at..])
            // The wildcard stands for a label at least.
            .filter(|suffix| suffix.len() < host.len())
    }
}

/// Whether a listener takes requests for `host`.
pub fn listener_serves(listener: &Listener, host: &str) -> bool {
    listener
        .hostname
        .as_ref()
        .is_none_or(|pattern| pattern.matches(host))
}
