//! What a LoadBalancer or a Backend must not say, and the schema cannot tell: what depends on the
//! installation, and what Kubernetes' own types leave open. Pure; called by [`super::review`] (Law 4).

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use crate::api::{Backend, LoadBalancer};
use crate::plan::{self, route_faults};

/// Bytes that all annotations of an object may have together (Kubernetes, `ValidateAnnotationsSize`).
const ANNOTATION_BYTES: usize = 256 * 1024;

/// A field that is refused, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, such as `spec.service.annotations[a.example.com/b]`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Annotations that a LoadBalancer may put on its Service. With others a tenant could take over names and
/// addresses of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedAnnotations(Vec<String>);

impl AllowedAnnotations {
    /// Each is a whole key, or the beginning of keys with a `*` at its end.
    pub fn new(patterns: impl IntoIterator<Item = String>) -> Self {
        Self(patterns.into_iter().collect())
    }

    /// Whether the installation allows this key.
    pub fn allows(&self, key: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => key.starts_with(beginning),
                None => key == pattern,
            })
    }
}

impl fmt::Display for AllowedAnnotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0.join(", "))
    }
}

/// What is wrong with an object that is being made, or changed from `old`.
///
/// What was there before is not refused again: a list of allowed annotations that became shorter must not
/// stand in the way of other changes (a finalizer that goes, a label).
pub fn faults(
    kind: &str,
    object: &Value,
    old: Option<&Value>,
    allowed: &AllowedAnnotations,
) -> Vec<Fault> {
    let checked = match kind {
        "LoadBalancer" => read::<LoadBalancer>(object).map(|new| {
            let old = old.and_then(|old| read::<LoadBalancer>(old).ok());
            load_balancer(&new, old.as_ref(), allowed)
        }),
        "Backend" => read::<Backend>(object).map(|new| backend(&new)),
        _ => return Vec::new(),
    };
    checked.unwrap_or_else(|fault| vec![fault])
}

/// The schema has let it pass, so only a lastcall of another version than the CRD's cannot read it; and
/// one that cannot read it could not serve it.
fn read<T: serde::de::DeserializeOwned>(object: &Value) -> Result<T, Fault> {
    T::deserialize(object).map_err(|error| Fault {
        field: "spec".to_owned(),
        message: format!(
            "this lastcall cannot read it ({error}); are its CRDs of another version?"
        ),
    })
}

fn load_balancer(
    new: &LoadBalancer,
    old: Option<&LoadBalancer>,
    allowed: &AllowedAnnotations,
) -> Vec<Fault> {
    let mut faults = routes(new, old);
    let none = BTreeMap::new();
    let annotations = |lb: &LoadBalancer| lb.spec.service.as_ref().map(|s| s.annotations.clone());
    let new = annotations(new).unwrap_or_default();
    let old = old.and_then(annotations).unwrap_or_else(|| none.clone());
    let changed = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value));
    faults.extend(changed.filter_map(|(key, _)| {
        let message = annotation_fault(key, allowed)?;
        let field = format!("spec.service.annotations[{key}]");
        Some(Fault { field, message })
    }));
    let bytes: usize = new.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATION_BYTES && new != old {
        faults.push(Fault {
            field: "spec.service.annotations".to_owned(),
            message: format!("{bytes} bytes; Kubernetes allows {ANNOTATION_BYTES} on a Service"),
        });
    }
    faults
}

/// What is wrong with the routes by themselves.
fn routes(new: &LoadBalancer, old: Option<&LoadBalancer>) -> Vec<Fault> {
    if old.is_some_and(|old| old.spec.routes == new.spec.routes) {
        return Vec::new();
    }
    let faults = route_faults(&new.spec).into_iter();
    let own = |fault: plan::Fault| Fault {
        field: fault.field,
        message: fault.message,
    };
    faults.map(own).collect()
}

fn annotation_fault(key: &str, allowed: &AllowedAnnotations) -> Option<String> {
    if !allowed.allows(key) {
        return Some(format!(
            "not allowed by this installation, which allows: {allowed}"
        ));
    }
    let syntax = "must be a name of at most 63 letters, digits, '-', '_' and '.', after a DNS name and '/' where there is one";
    (!is_qualified_name(key)).then(|| syntax.to_owned())
}

/// Kubernetes' rule for the keys of labels and annotations (`IsQualifiedName`).
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_dns_name) && is_label_word(name) && !name.is_empty()
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let edge =
            |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(label.bytes().next())
            && edge(label.bytes().next_back())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Kubernetes' rule for the values of labels (`IsValidLabelValue`).
fn is_label_word(word: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_none_or(|b| b.is_ascii_alphanumeric());
    word.len() <= 63
        && edge(word.bytes().next())
        && edge(word.bytes().next_back())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn backend(new: &Backend) -> Vec<Fault> {
    let pods = new.spec.pods.as_ref();
    pods.map(|pods| selector(&pods.selector))
        .unwrap_or_default()
}

/// What is wrong with a label selector: Kubernetes' type for it takes any operator and any word.
fn selector(selector: &LabelSelector) -> Vec<Fault> {
    let field = "spec.pods.selector";
    let mut faults = Vec::new();
    let mut fault = |field: String, message: &str| {
        faults.push(Fault {
            field,
            message: message.to_owned(),
        });
    };
    for (key, value) in selector.match_labels.iter().flatten() {
        if !is_qualified_name(key) || !is_label_word(value) {
            fault(format!("{field}.matchLabels[{key}]"), NO_LABEL);
        }
    }
    for (at, rule) in selector.match_expressions.iter().flatten().enumerate() {
        let field = format!("{field}.matchExpressions[{at}]");
        let values = rule.values.as_deref().unwrap_or_default();
        if !is_qualified_name(&rule.key) || !values.iter().all(|value| is_label_word(value)) {
            fault(field.clone(), NO_LABEL);
        }
        match rule.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                fault(
                    format!("{field}.values"),
                    "must not be empty with operator In or NotIn",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                fault(
                    format!("{field}.values"),
                    "must be empty with operator Exists or DoesNotExist",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let message = format!("found {other:?}; allowed: In, NotIn, Exists, DoesNotExist");
                fault(format!("{field}.operator"), &message);
            }
        }
    }
    faults
}

const NO_LABEL: &str = "not a label: keys and values are at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; a key may have a DNS name and '/' before it";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load_balancer(annotations: &Value) -> Value {
        json!({"apiVersion": "lastcall.dev/v1alpha1", "kind": "LoadBalancer", "metadata": {"name": "a"},
            "spec": {"listeners": [{"name": "http", "port": 80}], "defaultBackend": {"name": "web"},
                "service": {"annotations": annotations}}})
    }

    fn pods(selector: &Value) -> Value {
        json!({"apiVersion": "lastcall.dev/v1alpha1", "kind": "Backend", "metadata": {"name": "a"},
            "spec": {"pods": {"selector": selector, "port": 80}}})
    }

    fn allowed() -> AllowedAnnotations {
        AllowedAnnotations::new([
            "lb.example.com/*".to_owned(),
            "exact.example.com/one".to_owned(),
        ])
    }

    fn fields(kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
        let faults = faults(kind, new, old, &allowed());
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_regular_expression_that_is_none_is_refused_unless_it_was_there_before() {
        let routed = |expression: &str| {
            let path = json!({"type": "RegularExpression", "value": expression});
            let route = json!({"matches": [{"path": path}], "backends": [{"name": "web"}]});
            json!({"apiVersion": "lastcall.dev/v1alpha1", "kind": "LoadBalancer", "metadata": {"name": "a"},
                "spec": {"listeners": [{"name": "http", "port": 80}], "routes": [route]}})
        };
        let (good, bad) = (routed("/[a-z]+"), routed("/["));
        let field = ["spec.routes[0].matches[0].path.value"];
        assert_eq!(fields("LoadBalancer", &good, None), [""; 0]);
        assert_eq!(fields("LoadBalancer", &bad, None), field);
        assert_eq!(fields("LoadBalancer", &bad, Some(&good)), field);
        assert_eq!(fields("LoadBalancer", &bad, Some(&bad)), [""; 0]);
    }

    #[test]
    fn an_annotation_must_be_on_the_list_of_allowed_ones() {
        for (annotations, refused) in [
            (json!({}), vec![]),
            (
                json!({"lb.example.com/size": "1", "exact.example.com/one": "x"}),
                vec![],
            ),
            (
                json!({"exact.example.com/ones": "x"}),
                vec!["exact.example.com/ones"],
            ),
            (
                json!({"dns.example.com/hostname": "x", "lb.example.com/a": ""}),
                vec!["dns.example.com/hostname"],
            ),
            (json!({"lb.example.com/": "x"}), vec!["lb.example.com/"]),
            (
                json!({"lb.example.com/a b": "x"}),
                vec!["lb.example.com/a b"],
            ),
        ] {
            let refused: Vec<_> = refused
                .iter()
                .map(|key| format!("spec.service.annotations[{key}]"))
                .collect();
            assert_eq!(
                fields("LoadBalancer", &load_balancer(&annotations), None),
                refused
            );
        }
        let bad = load_balancer(&json!({"dns.example.com/hostname": "x"}));
        let fault = &faults("LoadBalancer", &bad, None, &allowed())[0];
        assert_eq!(
            fault.to_string(),
            "spec.service.annotations[dns.example.com/hostname]: not allowed by this installation, which allows: lb.example.com/*, exact.example.com/one"
        );
        let none = faults("LoadBalancer", &bad, None, &AllowedAnnotations::default());
        assert!(none[0].message.ends_with("allows: none"));
    }

    #[test]
    fn what_was_there_before_is_not_refused_again() {
        let old = load_balancer(&json!({"dns.example.com/hostname": "x"}));
        assert_eq!(fields("LoadBalancer", &old, Some(&old)), [""; 0]);
        let changed = load_balancer(&json!({"dns.example.com/hostname": "y"}));
        assert_eq!(fields("LoadBalancer", &changed, Some(&old)).len(), 1);
    }

    #[test]
    fn annotations_that_no_service_could_carry_are_refused() {
        let large = "x".repeat(ANNOTATION_BYTES);
        let object = load_balancer(&json!({"lb.example.com/a": large}));
        assert_eq!(
            fields("LoadBalancer", &object, None),
            ["spec.service.annotations"]
        );
    }

    #[test]
    fn a_selector_that_kubernetes_would_not_take_is_refused() {
        for (selector, field) in [
            (
                json!({"matchLabels": {"app.kubernetes.io/name": "web", "a": ""}}),
                "",
            ),
            (json!({"matchLabels": {"a b": "web"}}), "matchLabels[a b]"),
            (
                json!({"matchLabels": {"A.b/c": "web"}}),
                "matchLabels[A.b/c]",
            ),
            (json!({"matchLabels": {"a": "-x"}}), "matchLabels[a]"),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}),
                "",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
                "",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn"}]}),
                "matchExpressions[0].values",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]}),
                "matchExpressions[0].values",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Gt", "values": ["1"]}]}),
                "matchExpressions[1].operator",
            ),
            (
                json!({"matchExpressions": [{"key": "a/b/c", "operator": "Exists"}]}),
                "matchExpressions[0]",
            ),
        ] {
            let expected: Vec<String> = Some(field)
                .filter(|f| !f.is_empty())
                .map(|f| format!("spec.pods.selector.{f}"))
                .into_iter()
                .collect();
            assert_eq!(
                fields("Backend", &pods(&selector), None),
                expected,
                "{selector}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_other_kinds_are_not_ours() {
        let newer = json!({"spec": {"listeners": "many"}});
        assert_eq!(fields("LoadBalancer", &newer, None), ["spec"]);
        assert_eq!(fields("ConfigMap", &newer, None), [""; 0]);
    }
}
