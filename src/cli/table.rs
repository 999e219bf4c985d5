//! Status as a table for people. Pure.

use std::fmt::Write;
use std::time::Duration;

use crate::admin::schema::Status;
use crate::model::report::{BackendReport, DEREGISTERING, EndpointReport, ServiceState};

const HEAD: [&str; 8] = [
    "BACKEND",
    "ENDPOINT",
    "STATE",
    "IN FLIGHT",
    "REQUESTS",
    "CUT",
    "HOLDS",
    "DETAIL",
];

/// Everything: a head of a few lines, then the endpoints.
pub(super) fn status(status: &Status) -> String {
    let mut text = format!(
        "lastcall {}, up {}, configuration {}",
        status.version,
        span(Duration::from_secs(status.uptime_seconds)),
        status.configuration.revision
    );
    if status.shutting_down {
        text.push_str(", shutting down");
    } else if !status.ready {
        let _ = write!(text, ", not ready: {}", status.missing.join(", "));
    }
    text.push('\n');
    for one in &status.load_balancers {
        for listener in &one.listeners {
            let _ = write!(text, "listens on {} ({}", listener.port, listener.protocol);
            if let Some(host) = &listener.hostname {
                let _ = write!(text, " {host}");
            }
            let _ = writeln!(text, ", {}/{} {})", one.namespace, one.name, listener.name);
        }
    }
    if !status.configuration.faults.is_empty() {
        text.push_str("the last configuration was refused, the one before goes on:\n");
        for fault in &status.configuration.faults {
            let _ = writeln!(text, "  {fault}");
        }
    }
    if !status.configuration.unresolved.is_empty() {
        text.push_str("out of service, as the configuration runs:\n");
        for fault in &status.configuration.unresolved {
            let _ = writeln!(text, "  {fault}");
        }
    }
    text.push('\n');
    text + &backends(&status.backends)
}

/// Endpoints, a row each.
pub(super) fn backends(backends: &[BackendReport]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for backend in backends {
        for one in &backend.endpoints {
            rows.push(row(backend, one));
        }
        if backend.endpoints.is_empty() {
            let mut row = HEAD.map(|_| "-".to_owned());
            row[0] = format!("{}/{}", backend.namespace, backend.name);
            rows.push(row);
        }
    }
    columns(&rows)
}

fn row(backend: &BackendReport, one: &EndpointReport) -> [String; 8] {
    [
        format!("{}/{}", backend.namespace, backend.name),
        one.address.clone(),
        state(one).to_owned(),
        one.in_flight.to_string(),
        one.requests_total.to_string(),
        one.cut_total.to_string(),
        one.holds.to_string(),
        detail(one),
    ]
}

fn state(one: &EndpointReport) -> &'static str {
    match one.state {
        ServiceState::InService if one.description == DEREGISTERING => "Draining",
        ServiceState::InService => "InService",
        ServiceState::OutOfService => "OutOfService",
    }
}

fn detail(one: &EndpointReport) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = &one.reason {
        parts.push(reason.clone());
    }
    if let Some(left) = one.deadline_millis {
        parts.push(format!("cut in {}", span(Duration::from_millis(left))));
    } else if one.state == ServiceState::OutOfService
        && let Some(took) = one.drain_millis
    {
        parts.push(format!(
            "drained in {:.3} s",
            Duration::from_millis(took).as_secs_f64()
        ));
    }
    parts.push(format!(
        "since {}",
        span(Duration::from_millis(one.since_millis))
    ));
    parts.join(", ")
}

/// `3d4h`, `2m5s`: the two largest units.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// Columns as wide as their widest cell, two spaces apart, nothing at the end of a line.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::test_parts::{backend, endpoint};
    use crate::model::report::{DEREGISTERED, IN_SERVICE};

    #[test]
    fn a_row_says_what_an_endpoint_does() {
        let mut draining = endpoint("10.0.0.7:8080", ServiceState::InService, DEREGISTERING, 12);
        draining.reason = Some("AdminStateDraining".to_owned());
        draining.deadline_millis = Some(65_000);
        let mut drained = endpoint("10.0.0.8:8080", ServiceState::OutOfService, DEREGISTERED, 0);
        drained.drain_millis = Some(1234);
        let plain = endpoint("10.0.0.9:8080", ServiceState::InService, IN_SERVICE, 3);
        let text = backends(&[backend("web", vec![draining, drained, plain])]);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(rows[0], HEAD);
        assert_eq!(
            rows[1],
            [
                "default/web",
                "10.0.0.7:8080",
                "Draining",
                "12",
                "10",
                "0",
                "0",
                "AdminStateDraining, cut in 1m5s, since 1s"
            ]
        );
        assert_eq!(
            rows[2][2..],
            [
                "OutOfService",
                "0",
                "10",
                "0",
                "0",
                "drained in 1.234 s, since 1s"
            ]
        );
        assert_eq!(rows[3][2..4], ["InService", "3"]);
    }

    #[test]
    fn the_head_tells_what_is_refused_and_what_is_out_of_service() {
        let fault =
            |message| serde_json::json!([{"source": "shop.yaml", "line": 7, "message": message}]);
        let text = status(
            &serde_json::from_value(serde_json::json!({
                "version": "1.2.3", "uptimeSeconds": 65, "ready": false, "missing": ["listeners"],
                "shuttingDown": false, "loadBalancers": [], "backends": [],
                "configuration": {
                    "revision": 4, "loadedAtSeconds": 1.0, "acceptedTotal": 4, "refusedTotal": 1,
                    "faults": fault("is not allowed"), "unresolved": fault("there is no Backend default/api"),
                }
            }))
            .unwrap(),
        );
        for line in [
            "lastcall 1.2.3, up 1m5s, configuration 4, not ready: listeners",
            "the last configuration was refused, the one before goes on:",
            "  shop.yaml:7: is not allowed",
            "out of service, as the configuration runs:",
            "  shop.yaml:7: there is no Backend default/api",
        ] {
            assert!(
                text.lines().any(|own| own == line),
                "{line}\nis not in\n{text}"
            );
        }
    }

    #[test]
    fn spans_are_the_two_largest_units() {
        for (seconds, text) in [(0, "0s"), (65, "1m5s"), (3_700, "1h1m"), (90_000, "1d1h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
