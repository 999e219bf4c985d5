//! Reads request bodies, queries and the values in them, so that every refusal names its field.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::problem::Refusal;
use crate::model::Target;

/// The longest that can be waited for, seconds: a day.
const LONGEST_WAIT: f64 = 86_400.0;

/// A JSON body that is called JSON.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    let called_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"));
    if !called_json {
        return Err(Refusal::NotJson);
    }
    serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))
}

/// What axum could not read as a query.
pub(super) fn query(rejection: &QueryRejection) -> Refusal {
    let text = rejection.body_text();
    let detail = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&text);
    unreadable(detail)
}

/// serde says which field is missing, unknown or wrong in its text only.
fn unreadable(detail: &str) -> Refusal {
    let field = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|prefix| detail.split_once(prefix))
        .and_then(|(_, rest)| rest.split_once('`'))
        .map(|(field, _)| field.to_owned())
        // A query's errors begin with the name of the parameter.
        .or_else(|| {
            let (name, _) = detail.split_once(": ")?;
            name.chars()
                .all(|c| c.is_ascii_alphanumeric())
                .then(|| name.to_owned())
        });
    Refusal::Invalid {
        detail: detail.to_owned(),
        field,
    }
}

/// A target in the field `field`.
pub(super) fn target(field: &str, text: &str, namespace: &str) -> Result<Target, Refusal> {
    Target::parse(text, namespace).map_err(|error| Refusal::target(field, &error))
}

/// Seconds to wait, in the field `field`.
pub(super) fn seconds(field: &str, value: Option<f64>) -> Result<Option<Duration>, Refusal> {
    match value {
        None => Ok(None),
        Some(seconds) if seconds > 0.0 && seconds <= LONGEST_WAIT => {
            Ok(Some(Duration::from_secs_f64(seconds)))
        }
        Some(seconds) => Err(Refusal::field(
            field,
            format!("{field} is {seconds}: allowed is more than 0, at most {LONGEST_WAIT} seconds"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::schema::SetAdminState;
    use axum::http::HeaderValue;

    fn read(content_type: &'static str, body: &str) -> Result<SetAdminState, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        json(&headers, body.as_bytes())
    }

    const GOOD: &str = r#"{"target":"be/web","state":"Draining"}"#;

    #[test]
    fn only_what_is_called_json_is_read() {
        assert!(read("application/json; charset=utf-8", GOOD).is_ok());
        for other in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert_eq!(read(other, GOOD), Err(Refusal::NotJson), "{other}");
        }
    }

    #[test]
    fn a_wrong_body_is_refused_with_its_field() {
        for (body, expected) in [
            (r#"{"state":"Draining"}"#, Some("target")),
            (
                r#"{"target":"be/web","state":"Draining","colour":1}"#,
                Some("colour"),
            ),
            (r#"{"target":"be/web","state":"Sleeping"}"#, None),
            ("{", None),
        ] {
            match read("application/json", body) {
                Err(Refusal::Invalid { field, .. }) => assert_eq!(field.as_deref(), expected),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn seconds_are_positive_and_at_most_a_day() {
        assert_eq!(
            seconds("t", Some(0.5)),
            Ok(Some(Duration::from_millis(500)))
        );
        assert_eq!(seconds("t", None), Ok(None));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 86_401.0] {
            assert!(seconds("t", Some(wrong)).is_err(), "{wrong}");
        }
    }
}
