//! The CustomResourceDefinitions as they are printed, installed and, for files, enforced.
//!
//! `schemars` and `kube` derive them from the types; `tidy` then takes out what only a derive would
//! write and an API server warns about or reads differently.

use kube::CustomResourceExt;
use serde_json::Value;

use super::{Backend, LoadBalancer};

/// Both CustomResourceDefinitions, LoadBalancer first: what `lastcall crds` prints and what is
/// installed. Use these and not the derived `crd()`, which is not tidied.
pub fn crds() -> [Value; 2] {
    [LoadBalancer::crd(), Backend::crd()].map(|crd| {
        let mut value =
            serde_json::to_value(crd).expect("a CRD has string keys only, so it has a JSON form");
        tidy(&mut value);
        value
    })
}

/// A file name in `crds/` and the YAML that belongs there, for each CustomResourceDefinition.
pub fn crds_yaml() -> [(&'static str, String); 2] {
    let [load_balancers, backends] = crds();
    [
        ("loadbalancers.yaml", to_yaml(&load_balancers)),
        ("backends.yaml", to_yaml(&backends)),
    ]
}

fn to_yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).expect("JSON values have a YAML form")
}

/// Walks a CRD and, in each part of its schema: drops formats of Rust's integers that Kubernetes does
/// not know; drops `nullable` (an absent field is left out, not null: one way to say it, and rules that
/// ask `has()` stay right); writes whole bounds as integers; joins the lines of a description.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            let unknown_format = fields
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint"));
            if unknown_format {
                fields.remove("format");
            }
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            for bound in ["minimum", "maximum"] {
                if let Some(whole) = fields.get(bound).and_then(whole_number) {
                    fields.insert(bound.to_owned(), whole.into());
                }
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = join_lines(text);
            }
            fields.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// The integer that a JSON number with nothing after its point is.
#[allow(clippy::cast_possible_truncation)] // guarded: below 2^53 a whole f64 is an i64
fn whole_number(value: &Value) -> Option<i64> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

/// One line for each paragraph.
fn join_lines(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    paragraphs.join("\n\n")
}
