//! One route of a LoadBalancer, as plain values: which requests it is for, and where they go.

use std::sync::Arc;

use super::expression::Expression;
use super::filter::Filters;
use super::snapshot::{HostPattern, WeightedBackend};

/// Which requests go where.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Hosts it is for; all where empty.
    pub hostnames: Vec<HostPattern>,
    /// It is for requests that fit any of these; for none where there are none.
    pub matches: Vec<Match>,
    /// What is done with its requests beside; shared with the workers' routers.
    pub filters: Option<Arc<Filters>>,
    /// Where its requests go, by weight. Empty where nothing resolved: the route answers 503.
    pub backends: Vec<WeightedBackend>,
}

/// What a request must be like: all of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its path, without query, as it was sent.
    pub path: PathPattern,
    /// Its method; any where absent.
    pub method: Option<Box<str>>,
    /// Its fields: of each name one that fits.
    pub headers: Vec<NamedPattern>,
    /// Its query's parameters: the first of each name fits.
    pub query: Vec<NamedPattern>,
}

impl Match {
    /// Every request.
    pub fn all() -> Self {
        Self::prefix("")
    }

    /// Every request whose path begins with these segments: `/api` and `/api/` are for `/api` and `/api/x`,
    /// not for `/apix`.
    pub fn prefix(prefix: &str) -> Self {
        Self {
            path: PathPattern::Prefix(prefix.trim_end_matches('/').into()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }
    }
}

/// What a path must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Just this.
    Exact(Box<str>),
    /// It begins with these segments. Without the slash at its end; empty for every path.
    Prefix(Box<str>),
    /// All of it matches.
    Expression(Expression),
}

/// What one of the fields or parameters must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPattern {
    /// The name. Case counts for parameters, not for fields.
    pub name: Box<str>,
    /// The value.
    pub value: ValuePattern,
}

/// What a value must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePattern {
    /// Just this.
    Exact(Box<str>),
    /// All of it matches.
    Expression(Expression),
}
