//! A regular expression of a route, compiled. `plan` makes them of what users wrote, the router matches
//! with them.
//!
//! They run in time linear in what they are matched with, whatever they say and whoever sends it (finite
//! automata, no backtracking).

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that one compiled expression may take, and as many for what matching with it remembers.
const MAX_BYTES: usize = 256 * 1024;

/// A regular expression that has to match the whole of a text, byte by byte: `.` is any byte but a line feed,
/// `\w` and `\d` are of ASCII. Two are equal where they are written alike.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    regex: Arc<Regex>,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

/// Why a text is no regular expression that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionFault {
    /// It cannot be read.
    #[error("this is no regular expression: {0}")]
    Syntax(String),
    /// It would take too much memory.
    #[error("this regular expression is too large: compiled it may take {MAX_BYTES} bytes")]
    TooLarge,
}

impl Expression {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, ExpressionFault> {
        // By itself first: `a)|(b` is none, and what is put around it must not make it one.
        compile(text)?;
        Ok(Self {
            text: text.into(),
            regex: Arc::new(compile(&format!(r"\A(?:{text})\z"))?),
        })
    }

    /// The same for one worker: what matching remembers is its own there, so that no thread waits for
    /// another.
    pub fn for_worker(&self) -> Regex {
        Regex::clone(&self.regex)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn compile(pattern: &str) -> Result<Regex, ExpressionFault> {
    let built = RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(MAX_BYTES)
        .dfa_size_limit(MAX_BYTES)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => ExpressionFault::TooLarge,
        // The lines before the last show the place.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            ExpressionFault::Syntax(last.trim_start_matches("error: ").to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_has_to_match() {
        for (expression, text, matches) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a", "x/a", false),
            ("/a|/ab", "/ab", true),
            ("a|b", "ab", false),
            ("(?m)^a$", "a\nb", false),
            ("/users/[0-9]+", "/users/17", true),
            ("/users/[0-9]+", "/users/17/", false),
            (r"/\d+", "/٣", false),
            (".*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let compiled = Expression::new(expression).unwrap();
            let found = compiled.for_worker().is_match(text.as_bytes());
            assert_eq!(found, matches, "{expression:?} with {text:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_reason() {
        for (expression, words) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("[a", "unclosed character class"),
            ("*", "repetition operator missing expression"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?=a)", "look-around"),
            ("(?x)a #", "unclosed group"),
        ] {
            let fault = Expression::new(expression).unwrap_err();
            assert!(fault.to_string().contains(words), "{expression}: {fault}");
        }
        let large = Expression::new("(((a{100}){100}){100})");
        assert_eq!(large.unwrap_err(), ExpressionFault::TooLarge);
    }
}
