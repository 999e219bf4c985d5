//! What a request must be like beside its host and path, and how specific that is. Used by the router.

use std::borrow::Cow;
use std::cmp::Reverse;

use regex::bytes::Regex;

use super::{Asked, Hit};
use crate::model::{Match, NamedPattern, ValuePattern};

/// One match of one route, without its host and path.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The route's place in the LoadBalancer.
    route: usize,
    method: Option<Box<[u8]>>,
    headers: Box<[Condition]>,
    query: Box<[Condition]>,
}

/// What one field or parameter must be like.
#[derive(Clone, Debug)]
struct Condition {
    name: Box<[u8]>,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Exact(Box<[u8]>),
    Expression(Regex),
}

impl Rule {
    pub(super) fn new(route: usize, pattern: &Match) -> Self {
        let conditions = |all: &[NamedPattern]| all.iter().map(Condition::new).collect();
        Self {
            route,
            method: pattern.method.as_ref().map(|name| name.as_bytes().into()),
            headers: conditions(&pattern.headers),
            query: conditions(&pattern.query),
        }
    }

    /// The least is the most specific, among rules of one host and path.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        (
            self.method.is_none(),
            Reverse(self.headers.len()),
            Reverse(self.query.len()),
        )
    }

    pub(super) fn hit(&self, prefix: usize) -> Hit {
        Hit {
            route: self.route,
            prefix,
        }
    }

    /// Whether the request fits, whose host and path do.
    pub(super) fn fits(&self, asked: &Asked<'_>) -> bool {
        let method = self.method.as_deref();
        method.is_none_or(|name| name == asked.method)
            && self.headers.iter().all(|c| c.fits_a_field(asked))
            && self.query.iter().all(|c| c.fits_a_parameter(asked.query))
    }
}

impl Condition {
    fn new(pattern: &NamedPattern) -> Self {
        Self {
            name: pattern.name.as_bytes().into(),
            value: match &pattern.value {
                ValuePattern::Exact(text) => Value::Exact(text.as_bytes().into()),
                ValuePattern::Expression(expression) => Value::Expression(expression.for_worker()),
            },
        }
    }

    /// Whether any of the request's fields of this name fits.
    fn fits_a_field(&self, asked: &Asked<'_>) -> bool {
        asked.fields.iter().any(|field| {
            field.name.of(asked.buf).eq_ignore_ascii_case(&self.name)
                && self.value.is(field.value.of(asked.buf))
        })
    }

    /// Whether the query's first parameter of this name fits.
    fn fits_a_parameter(&self, query: &[u8]) -> bool {
        let mut pairs = query.split(|b| *b == b'&').map(|pair| {
            let name_len = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (name, value) = pair.split_at(name_len);
            (name, value.get(1..).unwrap_or_default())
        });
        let named = |(name, _): &(&[u8], &[u8])| decoded(name).eq(self.name.iter().copied());
        match pairs.find(named) {
            Some((_, value)) => self.value.is_decoded(value),
            None => false,
        }
    }
}

impl Value {
    fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => **text == *value,
            Self::Expression(regex) => regex.is_match(value),
        }
    }

    fn is_decoded(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => decoded(value).eq(text.iter().copied()),
            Self::Expression(regex) => {
                // Nearly always as it came: only a value with escapes is copied.
                let plain = memchr::memchr2(b'%', b'+', value).is_none();
                let text: Cow<'_, [u8]> = if plain {
                    value.into()
                } else {
                    decoded(value).collect()
                };
                regex.is_match(&text)
            }
        }
    }
}

/// What a parameter's name or value says: `+` is a space, and escapes are read (URL Standard,
/// `application/x-www-form-urlencoded`); a `%` that begins none is itself.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        match (first, behind) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    Some(high << 4 | low)
                }
                _ => Some(b'%'),
            },
            (byte, _) => Some(*byte),
        }
    })
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_forms_write_them() {
        for (text, meant) in [
            ("", ""),
            ("a+b", "a b"),
            ("%41%2b%2F", "A+/"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%%41", "%A"),
        ] {
            let read: Vec<u8> = decoded(text.as_bytes()).collect();
            assert_eq!(read, meant.as_bytes(), "{text}");
        }
    }

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        let fits = |query: &str, name: &str, value: ValuePattern| {
            let name = name.into();
            Condition::new(&NamedPattern { name, value }).fits_a_parameter(query.as_bytes())
        };
        let exact = |text: &str| ValuePattern::Exact(text.into());
        let expression =
            |text| ValuePattern::Expression(crate::model::Expression::new(text).unwrap());
        assert!(fits("a=1&b=2", "b", exact("2")));
        assert!(fits("x=2&b=2&b=3", "b", exact("2")));
        assert!(!fits("b=3&b=2", "b", exact("2")));
        assert!(!fits("B=2", "b", exact("2")));
        assert!(!fits("", "b", exact("")));
        assert!(fits("b", "b", exact("")));
        assert!(fits("b=", "b", exact("")));
        assert!(fits("b=1=2", "b", exact("1=2")));
        assert!(fits("%62=%31+2", "b", exact("1 2")));
        assert!(fits("b=17", "b", expression("[0-9]+")));
        assert!(fits("b=%31%37", "b", expression("[0-9]+")));
        assert!(!fits("b=17x", "b", expression("[0-9]+")));
    }
}
