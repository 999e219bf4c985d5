//! The rules of one host by path. Used by the router.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::rule::Rule;
use super::{Asked, Hit};
use crate::model::PathPattern;

/// The rules of one host.
#[derive(Debug, Default)]
pub(super) struct Paths {
    exact: HashMap<Box<[u8]>, Vec<Rule>>,
    /// The most specific first.
    expressions: Vec<(Rule, Regex)>,
    prefixes: Prefixes,
}

impl Paths {
    /// Adds a rule; those of earlier routes were added before.
    pub(super) fn add(&mut self, path: &PathPattern, rule: Rule) {
        match path {
            PathPattern::Exact(path) => {
                let path = path.as_bytes();
                self.exact.entry(path.into()).or_default().push(rule);
            }
            PathPattern::Prefix(prefix) => self.prefixes.add(prefix.as_bytes(), rule),
            PathPattern::Expression(expression) => {
                self.expressions.push((rule, expression.for_worker()));
            }
        }
    }

    /// Sorts the rules once all are there. Stable: of two alike the one that was written first stays first.
    pub(super) fn finish(&mut self) {
        for rules in self.exact.values_mut() {
            rules.sort_by_key(Rule::rank);
        }
        self.expressions.sort_by_key(|(rule, _)| rule.rank());
        self.prefixes.finish();
    }

    /// The most specific rule that the request fits.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<Hit> {
        let exact = self.exact.get(asked.path);
        exact
            .and_then(|rules| first(rules, asked))
            .or_else(|| {
                // The conditions first: they are the cheaper part.
                let mut all = self.expressions.iter();
                let fits =
                    |(rule, regex): &&(Rule, Regex)| rule.fits(asked) && regex.is_match(asked.path);
                all.find(fits).map(|(rule, _)| rule.hit(0))
            })
            .or_else(|| self.prefixes.find(asked))
    }
}

/// The first of the rules that the request fits.
fn first(rules: &[Rule], asked: &Asked<'_>) -> Option<Hit> {
    let mut fitting = rules.iter().filter(|rule| rule.fits(asked));
    fitting.next().map(|rule| rule.hit(0))
}

/// A tree of path segments. A look-up walks down as far as the request's path leads, and then up until a
/// rule fits: its cost is bounded by the longest prefix that is configured.
#[derive(Debug)]
struct Prefixes {
    /// The first is the root, the prefix of every path.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<[u8]>, usize>,
    rules: Vec<Rule>,
    /// The node of the prefix that is one segment shorter; the root's own is itself.
    above: usize,
    /// Bytes of the prefix.
    length: usize,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl Prefixes {
    fn add(&mut self, prefix: &[u8], rule: Rule) {
        let mut at = 0;
        for segment in segments(prefix) {
            at = match self.nodes[at].children.get(segment) {
                Some(child) => *child,
                None => self.grow(at, segment),
            };
        }
        self.nodes[at].rules.push(rule);
    }

    fn grow(&mut self, above: usize, segment: &[u8]) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node {
            above,
            length: self.nodes[above].length + 1 + segment.len(),
            ..Node::default()
        });
        self.nodes[above].children.insert(segment.into(), child);
        child
    }

    fn finish(&mut self) {
        for node in &mut self.nodes {
            node.rules.sort_by_key(Rule::rank);
        }
    }

    fn find(&self, asked: &Asked<'_>) -> Option<Hit> {
        let mut at = 0;
        for segment in segments(asked.path) {
            match self.nodes[at].children.get(segment) {
                Some(child) => at = *child,
                None => break,
            }
        }
        loop {
            let node = &self.nodes[at];
            if let Some(hit) = first(&node.rules, asked) {
                let prefix = node.length;
                return Some(Hit { prefix, ..hit });
            }
            if at == 0 {
                return None;
            }
            at = node.above;
        }
    }
}

/// The segments of a path, each after its slash: none of the root's, nor of `*`.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rest = path.strip_prefix(b"/");
    rest.into_iter().flat_map(|rest| rest.split(|b| *b == b'/'))
}
