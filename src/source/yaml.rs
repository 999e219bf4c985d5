//! YAML into a tree that knows its lines, so that an error can say where. Called by `door` only.
//!
//! Scalars are read as `kubectl` reads them (YAML 1.1's booleans included), so that a file means the
//! same at both doors. Nesting and aliases are bounded: a file cannot exhaust the stack or the memory.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

/// Deeper nesting is refused; the schema needs about ten.
const MAX_DEPTH: usize = 64;
/// More values in one file are refused; aliases count each time they are used.
const MAX_NODES: usize = 1_000_000;

/// A value and the line it begins at, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub line: usize,
    pub content: Content,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// Null, a boolean, a number or a string.
    Scalar(Value),
    Sequence(Vec<Node>),
    /// In the order of the file; keys are unique.
    Mapping(Vec<Entry>),
}

/// A key, the line it stands at, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub value: Node,
}

impl Node {
    /// The entry of that key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// The string, where this is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            _ => None,
        }
    }
}

/// Where and why the text is not YAML, or not YAML that is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    pub line: usize,
    pub message: String,
}

/// Reads all documents of a file. Empty documents (between two `---`) are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| YamlError {
            line: error.marker().line(),
            message: format!("not YAML: {}", error.info()),
        })?;
        if event == Event::StreamEnd {
            break;
        }
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// A sequence or mapping that has begun and not ended.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
    /// The key that waits for its value, in a mapping.
    key: Option<(String, usize)>,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), line)?;
                let content = Content::Scalar(value);
                self.add(anchor, Node { line, content })?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), line)?;
                self.begin(line, anchor, Content::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), line)?;
                self.begin(line, anchor, Content::Mapping(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let node = Node {
                        line: open.line,
                        content: open.content,
                    };
                    self.add(open.anchor, node)?;
                }
            }
            Event::Alias(anchor) => {
                let mut node =
                    self.anchors.get(&anchor).cloned().ok_or_else(|| {
                        error(line, "an alias (*name) without its anchor (&name)")
                    })?;
                self.nodes += size(&node);
                // Where it is used, not where it was written: that is what is wrong if it does not fit.
                node.line = line;
                self.add(0, node)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error(line, &format!("nested deeper than {MAX_DEPTH}")));
        }
        self.open.push(Open {
            line,
            anchor,
            content,
            key: None,
        });
        Ok(())
    }

    /// Puts a finished value where it belongs: into what is open, or as a document of its own.
    fn add(&mut self, anchor: usize, node: Node) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(error(node.line, &format!("more than {MAX_NODES} values")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if node.content != Content::Scalar(Value::Null) {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping(entries) => match open.key.take() {
                None => open.key = Some(key_of(&node, entries)?),
                Some((key, line)) => entries.push(Entry {
                    key,
                    line,
                    value: node,
                }),
            },
            Content::Scalar(_) => {}
        }
        Ok(())
    }
}

/// The text of a mapping's key, and its line; a key that was there before is refused.
fn key_of(node: &Node, entries: &[Entry]) -> Result<(String, usize), YamlError> {
    let key = match &node.content {
        Content::Scalar(Value::String(text)) => text.clone(),
        Content::Scalar(Value::Null) => String::new(),
        Content::Scalar(other) => other.to_string(),
        _ => return Err(error(node.line, "a key that is no plain word")),
    };
    if let Some(first) = entries.iter().find(|entry| entry.key == key) {
        let message = format!(
            "the key {key:?} is here twice; the first is at line {}",
            first.line
        );
        return Err(error(node.line, &message));
    }
    Ok((key, node.line))
}

fn size(node: &Node) -> usize {
    1 + match &node.content {
        Content::Scalar(_) => 0,
        Content::Sequence(items) => items.iter().map(size).sum(),
        Content::Mapping(entries) => entries.iter().map(|e| size(&e.value)).sum(),
    }
}

fn error(line: usize, message: &str) -> YamlError {
    YamlError {
        line,
        message: message.to_owned(),
    }
}

fn refuse_tag(tag: Option<&Tag>, line: usize) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && matches!(&*tag.suffix, "map" | "seq")) => {
            Err(error(line, &format!("the tag {tag} is not read here")))
        }
        _ => Ok(()),
    }
}

/// What a scalar means: quoted or tagged `!!str`, a string; plain, what its form says.
fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: usize,
) -> Result<Value, YamlError> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            return Ok(Value::from(text));
        }
        Some(tag) => return Err(error(line, &format!("the tag {tag} is not read here"))),
        None => {}
    }
    if style != ScalarStyle::Plain {
        return Ok(Value::from(text));
    }
    if is_ambiguous(text) {
        let message = format!(
            "{text} is a number to some readers and text to others: write the number in decimal, or the text in quotes"
        );
        return Err(error(line, &message));
    }
    Ok(plain(text))
}

/// Whether YAML 1.1, which kubectl reads, and YAML 1.2 differ on it: octal, hexadecimal and binary
/// numbers, and underscores between digits.
fn is_ambiguous(text: &str) -> bool {
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    let based = |prefix: &str, digits: fn(&char) -> bool| {
        number
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c == '_' || digits(&c)))
    };
    let grouped = number.starts_with(|c: char| c.is_ascii_digit())
        && number.contains('_')
        && number.chars().all(|c| matches!(c, '0'..='9' | '_' | '.'));
    grouped
        || based("0x", char::is_ascii_hexdigit)
        || based("0b", |c| matches!(c, '0' | '1'))
        || based("0o", char::is_ascii_digit)
        || based("0", char::is_ascii_digit)
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        // YAML 1.1's booleans: kubectl reads them so.
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = digits.strip_prefix('.').unwrap_or(digits);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        number(text)
    } else {
        Value::from(text)
    }
}

/// A whole number, also where it is written with a point or an exponent, as kubectl hands it on.
fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::from(whole);
    }
    match text.parse::<f64>() {
        Ok(real) if real.is_finite() => whole(real).map_or_else(|| real.into(), Value::from),
        _ => Value::from(text),
    }
}

/// Up to 2^53, where every whole number is exact.
#[allow(clippy::cast_possible_truncation)] // guarded
fn whole(real: f64) -> Option<i64> {
    (real.fract() == 0.0 && real.abs() <= 9_007_199_254_740_992.0).then_some(real as i64)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The tree without its lines.
    fn json(node: &Node) -> Value {
        match &node.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => items.iter().map(json).collect(),
            Content::Mapping(entries) => entries
                .iter()
                .map(|e| (e.key.clone(), json(&e.value)))
                .collect(),
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let documents = parse("a: 1\nb:\n  - x\n  - {c: 2}\n---\n# text\nd: |\n  text\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].get("a").unwrap().line, 1);
        let Content::Sequence(items) = &documents[0].get("b").unwrap().content else {
            panic!("a list")
        };
        assert_eq!((items[0].line, items[1].line), (3, 4));
        assert_eq!(items[1].get("c").unwrap().line, 4);
        assert_eq!(documents[1].get("d").unwrap().as_str(), Some("text\n"));
        assert_eq!(documents[1].line, 7);
    }

    #[test]
    fn scalars_mean_what_kubectl_reads() {
        for (text, expected) in [
            ("80", serde_json::json!(80)),
            ("-1", serde_json::json!(-1)),
            ("1.5", serde_json::json!(1.5)),
            ("1e3", serde_json::json!(1000)),
            ("80.0", serde_json::json!(80)),
            ("+80", serde_json::json!(80)),
            (".5", serde_json::json!(0.5)),
            ("0", serde_json::json!(0)),
            ("0s", serde_json::json!("0s")),
            ("0ab", serde_json::json!("0ab")),
            ("n", serde_json::json!(false)),
            ("true", serde_json::json!(true)),
            ("yes", serde_json::json!(true)),
            ("off", serde_json::json!(false)),
            ("~", Value::Null),
            ("\"80\"", serde_json::json!("80")),
            ("'true'", serde_json::json!("true")),
            ("!!str 80", serde_json::json!("80")),
            ("10.0.0.7", serde_json::json!("10.0.0.7")),
            ("10s", serde_json::json!("10s")),
            ("'0123'", serde_json::json!("0123")),
            ("nan", serde_json::json!("nan")),
            ("99999999999999999999", serde_json::json!(1e20)),
        ] {
            let text = format!("v: {text}");
            let documents = parse(&text).unwrap();
            assert_eq!(json(documents[0].get("v").unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_line() {
        for (text, line, words) in [
            ("a: 1\nb: [1, 2\n", 3, "not YAML"),
            ("a: 1\n  b: 2\n", 2, "not YAML"),
            ("a: 1\nb: 2\na: 3\n", 3, "first is at line 1"),
            ("a: *nothing\n", 1, ""),
            ("a: !secret x\n", 1, "tag"),
            ("? [a]\n: b\n", 1, "key"),
            ("a: 0120\n", 1, "in quotes"),
            ("a: -0x1F\n", 1, "in quotes"),
            ("a: 0o17\n", 1, "in quotes"),
            ("a: 0b11\n", 1, "in quotes"),
            ("a: 1_000\n", 1, "in quotes"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {}", error.message);
            assert!(error.message.contains(words), "{text}: {}", error.message);
        }
    }

    #[test]
    fn aliases_are_read_and_cannot_multiply_without_end() {
        let documents = parse("a: &x [1, 2]\nb: *x\n").unwrap();
        assert_eq!(
            json(&documents[0]),
            serde_json::json!({"a": [1, 2], "b": [1, 2]})
        );

        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            writeln!(laughs, "a{level}: &a{level} [{before}]").unwrap();
        }
        assert!(parse(&laughs).unwrap_err().message.contains("more than"));
        let deep = "[".repeat(100_000);
        parse(&deep).unwrap_err();
        let deep = format!("{}x{}", "[".repeat(100), "]".repeat(100));
        let error = parse(&deep).unwrap_err();
        assert!(error.message.contains("deeper"), "{}", error.message);
    }
}
