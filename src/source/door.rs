//! The door for objects that come from files: the CRDs' own schema, then the CRDs' own rules
//! (`x-kubernetes-validations`, evaluated by kube-rs' CEL), then what only a folder cannot do.
//!
//! Called by `files` for each document. What passes here would pass an API server, and the reverse
//! (Law 4); the few differences are those a folder needs and are in `without_a_cluster`.

use kube_cel::{CompiledSchema, Validator};
use serde_json::{Value, json};

use super::schema::{self, Schema};
use super::yaml::{Content, Node};
use crate::api::load_balancer::{LABEL, SUBDOMAIN};
use crate::api::{self, API_VERSION};
use crate::plan;

/// A fault of an object: where in its file, which field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The line in its file, counted from 1.
    pub line: usize,
    /// The field, such as `spec.listeners[0].port`.
    pub field: String,
    /// What was found, and what is allowed.
    pub message: String,
}

/// An object that has passed, its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Admitted {
    LoadBalancer(Box<api::LoadBalancer>),
    Backend(Box<api::Backend>),
}

/// Holds what both kinds are checked against. Made once: it compiles every rule.
pub struct Door {
    load_balancer: KindDoor,
    backend: KindDoor,
    rules: Validator,
}

struct KindDoor {
    schema: Schema,
    rules: CompiledSchema,
}

impl Default for Door {
    fn default() -> Self {
        Self::new()
    }
}

impl Door {
    /// A door made of the CRDs of this very program.
    pub fn new() -> Self {
        let [load_balancer, backend] = api::crds();
        Self {
            load_balancer: KindDoor::new(&load_balancer, "LoadBalancer"),
            backend: KindDoor::new(&backend, "Backend"),
            rules: Validator::new(),
        }
    }

    /// Checks one document. All its faults are returned, sorted by line.
    pub(super) fn admit(&self, document: &Node) -> Result<Admitted, Vec<Violation>> {
        let (kind, door) = self.kind_of(document)?;
        let mut violations = without_a_cluster(document, kind);
        let object = schema::check(&door.schema, document, "", &mut violations);
        let Some(object) = object.filter(|_| violations.is_empty()) else {
            violations.sort_by_key(|v| v.line);
            return Err(violations);
        };
        self.keep_rules(door, document, &object)?;
        let read = match kind {
            Kind::LoadBalancer => serde_json::from_value(object).map(Admitted::LoadBalancer),
            Kind::Backend => serde_json::from_value(object).map(Admitted::Backend),
        };
        // The schema is derived from the types, so what fits it can be read. Were it otherwise, refuse.
        let admitted = read.map_err(|error| {
            vec![Violation {
                line: document.line,
                field: String::new(),
                message: error.to_string(),
            }]
        })?;
        beyond_the_schema(document, &admitted)?;
        Ok(admitted)
    }

    fn kind_of(&self, document: &Node) -> Result<(Kind, &KindDoor), Vec<Violation>> {
        let fail = |line, field: &str, message: String| {
            vec![Violation {
                line,
                field: field.to_owned(),
                message,
            }]
        };
        if !matches!(document.content, Content::Mapping(_)) {
            let message = format!(
                "found no object; allowed: apiVersion: {API_VERSION}, kind: LoadBalancer or Backend, metadata, spec"
            );
            return Err(fail(document.line, "", message));
        }
        let word = |field: &'static str, allowed: &str| match document.get(field) {
            None => Err(fail(
                document.line,
                field,
                format!("missing; needed: {allowed}"),
            )),
            Some(node) => Ok((node.line, node.as_str().unwrap_or_default().to_owned())),
        };
        let (line, version) = word("apiVersion", API_VERSION)?;
        if version != API_VERSION {
            let message = format!("found {version:?}; allowed: {API_VERSION}");
            return Err(fail(line, "apiVersion", message));
        }
        match word("kind", "LoadBalancer, Backend")? {
            (_, kind) if kind == "LoadBalancer" => Ok((Kind::LoadBalancer, &self.load_balancer)),
            (_, kind) if kind == "Backend" => Ok((Kind::Backend, &self.backend)),
            (line, kind) => {
                let message = format!("found {kind:?}; allowed: LoadBalancer, Backend");
                Err(fail(line, "kind", message))
            }
        }
    }

    fn keep_rules(
        &self,
        door: &KindDoor,
        document: &Node,
        object: &Value,
    ) -> Result<(), Vec<Violation>> {
        let Err(broken) = self.rules.validate_compiled(&door.rules, object, None) else {
            return Ok(());
        };
        let mut violations: Vec<Violation> = broken
            .into_vec()
            .into_iter()
            .map(|error| Violation {
                line: line_of(document, &error.field_path),
                field: error.field_path,
                message: error.message,
            })
            .collect();
        violations.sort_by_key(|v| v.line);
        Err(violations)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    LoadBalancer,
    Backend,
}

impl KindDoor {
    /// Takes the schema out of a CRD and adds what an API server itself knows of every object.
    fn new(crd: &Value, kind: &str) -> Self {
        let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
        let properties = &mut schema["properties"];
        properties["apiVersion"] = json!({"type": "string", "enum": [API_VERSION]});
        properties["kind"] = json!({"type": "string", "enum": [kind]});
        properties["metadata"] = metadata_schema();
        if let Some(properties) = properties.as_object_mut() {
            properties.remove("status");
        }
        let rules = kube_cel::compile_schema(&schema);
        // Both are functions of this program's own text, and a test makes a door.
        let schema = serde_json::from_value(schema).expect("every keyword of our schema is known");
        Self { schema, rules }
    }
}

/// What an API server enforces on the metadata of an object; more than these fields a file does not need.
fn metadata_schema() -> Value {
    let words = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN},
            "namespace": {
                "type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL,
                "default": "default",
            },
            "labels": words,
            "annotations": words,
        },
    })
}

/// What needs a cluster is refused in a folder, with what to write in its place.
fn without_a_cluster(document: &Node, kind: Kind) -> Vec<Violation> {
    let fields: &[(&str, &str)] = match kind {
        Kind::LoadBalancer => &[(
            "service",
            "needs a cluster, and here is none: leave it out; the listeners' ports are opened on this machine",
        )],
        Kind::Backend => &[
            (
                "service",
                "needs a cluster, and here is none: write static: [{address: 10.0.0.7, port: 8080}] in its place",
            ),
            (
                "pods",
                "needs a cluster, and here is none: write static: [{address: 10.0.0.7, port: 8080}] in its place",
            ),
        ],
    };
    let Some(spec) = document.get("spec") else {
        return Vec::new();
    };
    let Content::Mapping(entries) = &spec.content else {
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|entry| {
            let (field, message) = fields.iter().find(|(field, _)| *field == entry.key)?;
            Some(Violation {
                line: entry.line,
                field: format!("spec.{field}"),
                message: (*message).to_owned(),
            })
        })
        .collect()
}

/// What no schema can say, and the webhook refuses in a cluster.
fn beyond_the_schema(document: &Node, object: &Admitted) -> Result<(), Vec<Violation>> {
    let Admitted::LoadBalancer(load_balancer) = object else {
        return Ok(());
    };
    let faults = plan::route_faults(&load_balancer.spec).into_iter();
    let violations: Vec<Violation> = faults
        .map(|fault| Violation {
            line: line_of(document, &fault.field),
            field: fault.field,
            message: fault.message,
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations)
    }
}

/// The line of the deepest part of `path` (`spec.routes[1].backends`) that the document has.
fn line_of(document: &Node, path: &str) -> usize {
    let mut node = document;
    let mut line = document.line;
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        let next = match &node.content {
            Content::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == part)
                .map(|entry| (entry.line, &entry.value)),
            Content::Sequence(items) => part
                .trim_end_matches(']')
                .parse::<usize>()
                .ok()
                .and_then(|at| items.get(at))
                .map(|item| (item.line, item)),
            Content::Scalar(_) => None,
        };
        let Some((at, inner)) = next else { break };
        (line, node) = (at, inner);
    }
    line
}

#[cfg(test)]
mod tests;
