//! docs/admin-api.md against the program: it names every route, path and metric, and its examples are
//! what the types say, field for field.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::routes::Route;
use super::{metrics, observe, schema};
use crate::model::report;

const PAGE: &str = include_str!("../../docs/admin-api.md");

/// Panics where an example is not what its type says.
type Check = fn(&str);

/// The types that have examples.
const TYPES: [(&str, Check); 11] = [
    ("Problem", round_trip::<schema::Problem>),
    ("Status", round_trip::<schema::Status>),
    ("BackendReport", round_trip::<report::BackendReport>),
    ("SetAdminState", round_trip::<schema::SetAdminState>),
    ("AdminStateSet", round_trip::<schema::AdminStateSet>),
    ("WaitLine", round_trip::<schema::WaitLine>),
    ("HoldAsk", round_trip::<schema::HoldAsk>),
    ("HoldLine", round_trip::<schema::HoldLine>),
    ("Reloaded", round_trip::<schema::Reloaded>),
    ("ReloadProblem", round_trip::<schema::ReloadProblem>),
    ("Ready", round_trip::<schema::Ready>),
];

/// Into the type and back: nothing in the example may be unknown to the type, nothing that the type
/// always writes may be missing from the example.
fn round_trip<T: Serialize + DeserializeOwned>(text: &str) {
    let example: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let typed: T = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(serde_json::to_value(typed).unwrap(), example);
}

/// Code blocks that begin with ```` ```json TYPE ```` or ```` ```ndjson TYPE ````: the fence's word, the
/// type, the text.
fn examples() -> Vec<(&'static str, &'static str, &'static str)> {
    PAGE.split("\n```")
        .filter_map(|block| {
            let (fence, text) = block.split_once('\n')?;
            let (language, name) = fence.split_once(' ')?;
            matches!(language, "json" | "ndjson").then_some((language, name, text))
        })
        .collect()
}

#[test]
fn every_example_is_what_the_types_say() {
    let examples = examples();
    for (language, name, text) in &examples {
        let (_, check) = TYPES
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("an example of the unknown type {name}"));
        match *language {
            "json" => check(text),
            _ => text.lines().for_each(check),
        }
    }
    for (name, _) in TYPES {
        assert!(
            examples.iter().any(|(_, shown, _)| *shown == name),
            "{name} has no example"
        );
    }
}

#[test]
fn every_route_has_its_section() {
    for route in Route::ALL {
        let heading = format!("\n## {} {}\n", route.method(), route.path());
        assert!(PAGE.contains(&heading), "{heading}");
    }
    for path in observe::PATHS {
        assert!(PAGE.contains(&format!("\n## GET {path}\n")), "{path}");
    }
}

#[test]
fn every_metric_is_in_the_table_and_the_other_way_round() {
    let scraped =
        String::from_utf8(metrics::encode(&metrics::tests::full_scrape()).unwrap()).unwrap();
    let scraped: Vec<_> = scraped
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split_once(' '))
        .collect();
    for (name, kind) in &scraped {
        let row = PAGE
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(
            row.contains(&format!("| {kind} |")),
            "{name} is no {kind} in the table"
        );
    }
    let named = PAGE
        .lines()
        .filter(|line| line.starts_with("| `lastcall_"))
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`'))
        .filter(|word| word.starts_with("lastcall_"));
    for name in named {
        assert!(
            scraped.iter().any(|(known, _)| *known == name),
            "{name} does not exist"
        );
    }
}
