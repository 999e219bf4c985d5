//! A regular expression of a route, compiled. `plan` makes them of what users wrote, the router matches
//! with them.
//!
//! They run in time linear in what they are matched with, whatever they say and whoever sends it (finite
//! automata, no backtracking).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

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

/// What is compiled and in use. A configuration is planned anew at every change of an endpoint, and what its
/// routes say changes hardly ever.
static IN_USE: LazyLock<Mutex<HashMap<Arc<str>, Weak<Regex>>>> = LazyLock::new(Mutex::default);

impl Expression {
    /// Compiles `text`, unless that is in use already.
    pub fn new(text: &str) -> Result<Self, ExpressionFault> {
        if let Some(known) = Self::in_use(text) {
            return Ok(known);
        }
        // By itself first: `a)|(b` is none, and what is put around it must not make it one.
        compile(text)?;
        let regex = Arc::new(compile(&format!(r"\A(?:{text})\z"))?);
        let text: Arc<str> = text.into();
        let mut all = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(Arc::clone(&text), Arc::downgrade(&regex));
        // Seldom enough to cost nothing, often enough that what is gone takes no more room than what is not.
        if all.len().is_power_of_two() {
            all.retain(|_, regex| regex.strong_count() > 0);
        }
        Ok(Self { text, regex })
    }

    fn in_use(text: &str) -> Option<Self> {
        let all = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, regex) = all.get_key_value(text)?;
        let regex = regex.upgrade()?;
        let text = Arc::clone(text);
        Some(Self { text, regex })
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
    fn what_is_in_use_is_not_compiled_again_and_what_is_not_takes_no_room() {
        let first = Expression::new("/in-use/.*").unwrap();
        let second = Expression::new("/in-use/.*").unwrap();
        assert!(Arc::ptr_eq(&first.regex, &second.regex));
        for at in 0..500 {
            Expression::new(&format!("/gone/{at}")).unwrap();
        }
        // Other tests have theirs there, too.
        let room = IN_USE.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert!(room < 256, "{room}");
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
