//! The structural part of the CRDs' schema, enforced on a YAML tree as the API server would on JSON:
//! types, required and unknown fields, enums, bounds, patterns, unique list entries, defaults. The
//! rules in `x-kubernetes-validations` are `door`'s.
//!
//! A keyword that this file does not know fails to load, and with it every test: the schema cannot
//! grow something that files are not held to.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::door::Violation;
use super::yaml::{Content, Entry, Node};

/// One node of the schema.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Schema {
    #[serde(rename = "type")]
    kind: Option<Kind>,
    #[serde(rename = "x-kubernetes-int-or-string", default)]
    int_or_string: bool,
    default: Option<Value>,
    #[serde(rename = "enum", default)]
    allowed: Vec<String>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    #[serde(default, deserialize_with = "pattern")]
    pattern: Option<regex::Regex>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    items: Option<Box<Schema>>,
    #[serde(rename = "x-kubernetes-list-type")]
    list_type: Option<ListType>,
    #[serde(rename = "x-kubernetes-list-map-keys", default)]
    list_keys: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, Schema>,
    #[serde(default)]
    required: Vec<String>,
    additional_properties: Option<Box<Schema>>,
    max_properties: Option<usize>,
    // Known, and nothing for this file to do: texts, and what `door` enforces.
    #[serde(rename = "title")]
    _title: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "format")]
    _format: Option<String>,
    #[serde(rename = "x-kubernetes-validations", default)]
    _validations: Vec<Value>,
    #[serde(rename = "x-kubernetes-map-type")]
    _map_type: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Boolean,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ListType {
    Atomic,
    Set,
    Map,
}

fn pattern<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<regex::Regex>, D::Error> {
    let text = String::deserialize(d)?;
    regex::Regex::new(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

/// Checks a tree against the schema. Returns it as JSON with all defaults filled in; what does not fit
/// is added to `violations` and left out of the JSON.
pub(super) fn check(
    schema: &Schema,
    node: &Node,
    path: &str,
    violations: &mut Vec<Violation>,
) -> Option<Value> {
    Checker { violations }.value(schema, node, path)
}

struct Checker<'a> {
    violations: &'a mut Vec<Violation>,
}

impl Checker<'_> {
    fn fail(&mut self, line: usize, path: &str, message: String) {
        self.violations.push(Violation {
            line,
            field: path.to_owned(),
            message,
        });
    }

    fn value(&mut self, schema: &Schema, node: &Node, path: &str) -> Option<Value> {
        match (&node.content, schema.kind) {
            (Content::Mapping(entries), Some(Kind::Object)) => {
                Some(self.object(schema, entries, node.line, path))
            }
            (Content::Sequence(items), Some(Kind::Array)) => {
                Some(self.list(schema, items, node.line, path))
            }
            (Content::Scalar(value), _) if schema.takes(value) => {
                let before = self.violations.len();
                self.scalar(schema, value, node.line, path);
                (self.violations.len() == before).then(|| value.clone())
            }
            _ => {
                let message = format!("found {}; allowed: {}", found(node), schema.what());
                self.fail(node.line, path, message);
                None
            }
        }
    }

    fn scalar(&mut self, schema: &Schema, value: &Value, line: usize, path: &str) {
        let fits = match value {
            Value::Number(number) => number.as_i64().is_some_and(|n| {
                schema.minimum.is_none_or(|least| n >= least)
                    && schema.maximum.is_none_or(|most| n <= most)
            }),
            Value::String(text) => schema.fits_text(text),
            _ => true,
        };
        if !fits {
            let message = format!("found {}; allowed: {}", shown(value), schema.what());
            self.fail(line, path, message);
        }
    }

    fn object(&mut self, schema: &Schema, entries: &[Entry], line: usize, path: &str) -> Value {
        let mut object = Map::new();
        for entry in entries {
            let at = join(path, &entry.key);
            let declared = schema.properties.get(&entry.key);
            let Some(inner) = declared.or(schema.additional_properties.as_deref()) else {
                self.fail(entry.line, &at, schema.unknown_field(&entry.key));
                continue;
            };
            // As the API server: null is as if the field were not written.
            if is_null(&entry.value) {
                continue;
            }
            if let Some(value) = self.value(inner, &entry.value, &at) {
                object.insert(entry.key.clone(), value);
            }
        }
        for key in &schema.required {
            if !entries.iter().any(|e| e.key == *key && !is_null(&e.value)) {
                let message = format!("missing; needed: {}", schema.properties[key].what());
                self.fail(line, &join(path, key), message);
            }
        }
        if let Some(most) = schema.max_properties.filter(|most| entries.len() > *most) {
            let message = format!("found {} entries; allowed: at most {most}", entries.len());
            self.fail(line, path, message);
        }
        fill_defaults(schema, &mut object);
        Value::Object(object)
    }

    fn list(&mut self, schema: &Schema, items: &[Node], line: usize, path: &str) -> Value {
        let count = items.len();
        let few = schema.min_items.is_some_and(|least| count < least);
        let many = schema.max_items.is_some_and(|most| count > most);
        if few || many {
            let message = format!("found {count} entries; allowed: {}", schema.what());
            self.fail(line, path, message);
        }
        // A list that is too long is not looked into: its own length is what is wrong.
        let inner = schema.items.as_deref().filter(|_| !many);
        let mut values: Vec<(Value, usize)> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let Some(inner) = inner else { break };
            if let Some(value) = self.value(inner, item, &format!("{path}[{at}]")) {
                self.unique(
                    schema,
                    &values,
                    &value,
                    (item.line, &format!("{path}[{at}]")),
                );
                values.push((value, item.line));
            }
        }
        Value::Array(values.into_iter().map(|(value, _)| value).collect())
    }

    /// Entries of a set differ; entries of a map differ in their keys.
    fn unique(
        &mut self,
        schema: &Schema,
        before: &[(Value, usize)],
        value: &Value,
        (line, path): (usize, &str),
    ) {
        let same = |other: &Value| match schema.list_type {
            Some(ListType::Set) => other == value,
            Some(ListType::Map) => schema.list_keys.iter().all(|key| {
                // A key that is not there was complained of already.
                other.get(key).is_some() && other.get(key) == value.get(key)
            }),
            _ => false,
        };
        if let Some((_, first)) = before.iter().find(|(other, _)| same(other)) {
            let message = match schema.list_type {
                Some(ListType::Map) => {
                    let keys: Vec<String> = schema
                        .list_keys
                        .iter()
                        .map(|key| format!("{key} {}", shown(&value[key])))
                        .collect();
                    format!(
                        "{} is here twice; the first is at line {first}",
                        keys.join(", ")
                    )
                }
                _ => format!(
                    "{} is here twice; the first is at line {first}",
                    shown(value)
                ),
            };
            self.fail(line, path, message);
        }
    }
}

impl Schema {
    fn takes(&self, value: &Value) -> bool {
        match value {
            Value::Bool(_) => self.kind == Some(Kind::Boolean),
            Value::String(_) => self.kind == Some(Kind::String) || self.int_or_string,
            Value::Number(n) => {
                (self.kind == Some(Kind::Integer) || self.int_or_string) && n.as_i64().is_some()
            }
            _ => false,
        }
    }

    fn fits_text(&self, text: &str) -> bool {
        let length = text.chars().count();
        (self.allowed.is_empty() || self.allowed.iter().any(|word| word == text))
            && self.min_length.is_none_or(|least| length >= least)
            && self.max_length.is_none_or(|most| length <= most)
            && self.pattern.as_ref().is_none_or(|p| p.is_match(text))
    }

    /// What is allowed here, in words.
    fn what(&self) -> String {
        if !self.allowed.is_empty() {
            return self.allowed.join(", ");
        }
        if self.int_or_string {
            return format!("{}, or {}", self.what_number(), self.what_text());
        }
        match self.kind {
            Some(Kind::Boolean) => "true or false".to_owned(),
            Some(Kind::Integer) => self.what_number(),
            Some(Kind::String) => self.what_text(),
            Some(Kind::Array) => match (self.min_items, self.max_items) {
                (Some(least), Some(most)) => format!("a list of {least} to {most} entries"),
                (_, Some(most)) => format!("a list of at most {most} entries"),
                _ => "a list".to_owned(),
            },
            Some(Kind::Object) | None => {
                let fields: Vec<&str> = self.properties.keys().map(String::as_str).collect();
                if fields.is_empty() {
                    "a mapping".to_owned()
                } else {
                    format!("a mapping with {}", fields.join(", "))
                }
            }
        }
    }

    fn what_text(&self) -> String {
        let what = match self.pattern.as_ref().map(regex::Regex::as_str) {
            None => "a string".to_owned(),
            Some(crate::api::duration::PATTERN) => {
                return "a duration such as 250ms, 10s or 1h30m".to_owned();
            }
            Some(pattern) => format!("a string that matches {pattern}"),
        };
        match self.max_length {
            Some(most) => format!("{what}, at most {most} characters"),
            None => what,
        }
    }

    fn what_number(&self) -> String {
        match (self.minimum, self.maximum) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            (Some(least), None) => format!("a whole number from {least}"),
            _ => "a whole number".to_owned(),
        }
    }

    fn unknown_field(&self, key: &str) -> String {
        let fields: Vec<&str> = self.properties.keys().map(String::as_str).collect();
        let close = fields.iter().find(|field| field.eq_ignore_ascii_case(key));
        match close {
            Some(close) => format!("no such field; {close} is meant"),
            None => format!("no such field; allowed here: {}", fields.join(", ")),
        }
    }
}

/// Fills in what is not written and has a default, here and in what was filled in.
fn fill_defaults(schema: &Schema, object: &mut Map<String, Value>) {
    for (key, inner) in &schema.properties {
        if let (None, Some(default)) = (object.get(key), &inner.default) {
            let mut value = default.clone();
            if let Value::Object(fields) = &mut value {
                fill_defaults(inner, fields);
            }
            object.insert(key.clone(), value);
        }
    }
}

fn is_null(node: &Node) -> bool {
    node.content == Content::Scalar(Value::Null)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn found(node: &Node) -> String {
    match &node.content {
        Content::Scalar(value) => shown(value),
        Content::Sequence(_) => "a list".to_owned(),
        Content::Mapping(_) => "a mapping".to_owned(),
    }
}

/// A scalar as it was written, cut where it is long.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.chars().count() > 80 => {
            let start: String = text.chars().take(80).collect();
            format!("{start:?}…")
        }
        other => other.to_string(),
    }
}
