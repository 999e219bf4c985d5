//! What Prometheus sees. Pure: a [`Scrape`] of plain values in, the text format out. The numbers are
//! counted by their owners (Law 9), so nothing is registered or counted a second time here.

use std::sync::Arc;
use std::time::Duration;

use super::backend_metrics;
use super::certificates;
use super::endpoint_metrics;
use super::exposition::{Families, Family, flag, float};
use crate::model::Snapshot;
use crate::model::report::{BackendReport, ConfigurationReport};
use crate::model::totals::{ClusterTotals, DataPlaneTotals, DrainTotals, ListenerTotals};

/// All numbers of one moment.
#[derive(Clone, Debug)]
pub(super) struct Scrape {
    pub(super) uptime: Duration,
    pub(super) ready: bool,
    pub(super) configuration: ConfigurationReport,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) data_plane: DataPlaneTotals,
    pub(super) drains: DrainTotals,
    /// Absent without a cluster.
    pub(super) cluster: Option<ClusterTotals>,
    /// Absent where the coordinator did not answer.
    pub(super) backends: Option<Vec<BackendReport>>,
}

/// The scrape in Prometheus' text format.
pub(super) fn encode(scrape: &Scrape) -> Result<Vec<u8>, prometheus::Error> {
    let mut families = Families::default();
    process(&mut families, scrape);
    configuration(&mut families, &scrape.configuration);
    listeners(&mut families, &scrape.data_plane.listeners);
    certificates::expiry(&mut families, &scrape.snapshot);
    data_plane(&mut families, &scrape.data_plane);
    backend_metrics::backends(&mut families, &scrape.data_plane.backends);
    drains(&mut families, &scrape.drains);
    if let Some(totals) = &scrape.cluster {
        cluster(&mut families, totals);
    }
    if let Some(backends) = &scrape.backends {
        endpoint_metrics::endpoints(&mut families, backends);
    }
    families.encode()
}

fn process(families: &mut Families, scrape: &Scrape) {
    families
        .gauge(
            "lastcall_build_info",
            "Always 1; the version of lastcall is its label",
        )
        .put(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    families
        .gauge("lastcall_uptime_seconds", "How long the process runs")
        .put(&[], scrape.uptime.as_secs_f64());
    families
        .gauge("lastcall_ready", "1 where /readyz says ready")
        .put(&[], flag(scrape.ready));
    families
        .gauge(
            "lastcall_coordinator_up",
            "0 where the drain's coordinator did not answer this scrape",
        )
        .put(&[], flag(scrape.backends.is_some()));
}

fn configuration(families: &mut Families, report: &ConfigurationReport) {
    let mut reloads = families.counter(
        "lastcall_config_reloads_total",
        "Configurations that were read, by what became of them",
    );
    reloads.put(&[("result", "ok")], float(report.accepted_total));
    reloads.put(&[("result", "failed")], float(report.refused_total));
    families
        .gauge(
            "lastcall_config_last_reload_successful",
            "0 where the last configuration was refused and the one before goes on",
        )
        .put(&[], flag(report.faults.is_empty() && report.revision > 0));
    families
        .gauge(
            "lastcall_config_last_reload_timestamp_seconds",
            "When the running configuration was taken into service, seconds since 1970",
        )
        .put(&[], report.loaded_at_seconds);
}

fn data_plane(families: &mut Families, totals: &DataPlaneTotals) {
    families
        .gauge("lastcall_workers", "Worker threads")
        .put(&[], float(totals.workers));
    let mut requests = families.counter(
        "lastcall_requests_total",
        "Responses sent to clients, by the class of their status",
    );
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    for (class, count) in classes.iter().zip(totals.responses) {
        requests.put(&[("status_class", class)], float(count));
    }
    let mut refused = families.counter(
        "lastcall_refused_total",
        "Requests and connections that lastcall answered or closed itself, by reason; redirects are none of them",
    );
    for (reason, count) in &totals.refused {
        refused.put(&[("reason", reason)], float(*count));
    }
    let mut handshakes = families.counter(
        "lastcall_tls_handshakes_total",
        "TLS handshakes with clients, by what came of them",
    );
    for (result, count) in &totals.tls_handshakes {
        handshakes.put(&[("result", result)], float(*count));
    }
    let mut mirrored = families.counter(
        "lastcall_mirrored_total",
        "Copies of requests for a route's mirror, by what became of them",
    );
    for (result, count) in &totals.mirrored {
        mirrored.put(&[("result", result)], float(*count));
    }
    for (name, help, read) in PLAIN_COUNTERS {
        families.counter(name, help).put(&[], float(read(totals)));
    }
    families
        .gauge("lastcall_tunnels", "Upgraded connections that are open")
        .put(&[], float(totals.tunnels));
    families
        .gauge(
            "lastcall_tcp_connections",
            "TCP connections that are passed on to an endpoint",
        )
        .put(&[], float(totals.tcp_open));
    let mut ended = families.counter(
        "lastcall_tcp_connections_ended_total",
        "TCP connections that have ended, by how",
    );
    for (end, count) in &totals.tcp_ended {
        ended.put(&[("end", end)], float(*count));
    }
}

/// One number of the workers.
type ReadTotal = fn(&DataPlaneTotals) -> u64;

/// The workers' counters that have no labels.
const PLAIN_COUNTERS: [(&str, &str, ReadTotal); 9] = [
    (
        "lastcall_retries_total",
        "Attempts beyond the first of a request",
        |totals| totals.retries,
    ),
    (
        "lastcall_cuts_total",
        "Exchanges ended by force: deadline, Disabled, draining disabled",
        |totals| totals.cuts,
    ),
    (
        "lastcall_client_gone_total",
        "Exchanges whose client went away, or took nothing any more, before they were over",
        |totals| totals.client_gone,
    ),
    (
        "lastcall_upstream_broken_total",
        "Exchanges that the endpoint broke: no answer, a broken one, or half of one",
        |totals| totals.upstream_broken,
    ),
    (
        "lastcall_received_bytes_total",
        "Bytes received from clients",
        |totals| totals.received_bytes,
    ),
    (
        "lastcall_sent_bytes_total",
        "Bytes sent to clients",
        |totals| totals.sent_bytes,
    ),
    (
        "lastcall_upstream_connects_total",
        "Connections opened to endpoints",
        |totals| totals.upstream_connects,
    ),
    (
        "lastcall_upstream_reuses_total",
        "Requests sent over a kept connection",
        |totals| totals.upstream_reuses,
    ),
    (
        "lastcall_upstream_connect_failures_total",
        "Connections to endpoints that could not be opened",
        |totals| totals.upstream_connect_failures,
    ),
];

fn listeners(families: &mut Families, listeners: &[ListenerTotals]) {
    let put = |mut family: Family<'_>, read: fn(&ListenerTotals) -> u64| {
        for one in listeners {
            let labels = [
                ("load_balancer", &*one.load_balancer),
                ("listener", &*one.listener),
            ];
            family.put(&labels, float(read(one)));
        }
    };
    put(
        families.gauge("lastcall_connections", "Client connections that are open"),
        |one| one.connections_open,
    );
    put(
        families.counter("lastcall_connections_total", "Client connections accepted"),
        |one| one.connections_total,
    );
}

fn drains(families: &mut Families, totals: &DrainTotals) {
    families
        .gauge("lastcall_holds", "preStop calls that wait now")
        .put(&[], float(totals.holds));
    let mut ended = families.counter("lastcall_holds_total", "Holds that ended, by cause");
    for (cause, count) in [
        ("drained", totals.released_drained),
        ("deadline", totals.released_deadline),
        ("cut", totals.released_cut),
        ("abandoned", totals.abandoned),
    ] {
        ended.put(&[("cause", cause)], float(count));
    }
    families.histogram(
        "lastcall_drain_duration_seconds",
        "From the begin of an endpoint's drain to its last byte or its deadline",
        &totals.drain_seconds,
    );
    families.histogram(
        "lastcall_release_delay_seconds",
        "From the moment the last request left to the release of the hold that waited for it",
        &totals.release_seconds,
    );
}

fn cluster(families: &mut Families, totals: &ClusterTotals) {
    let mut unprotected = families.gauge(
        "lastcall_unprotected_pods",
        "Pods that a Backend serves from and that are not held when they are stopped",
    );
    for (backend, pods) in &totals.unprotected {
        let labels = [
            ("namespace", &*backend.namespace),
            ("backend", &*backend.name),
        ];
        unprotected.put(&labels, f64::from(*pods));
    }
    let mut reviews = families.counter(
        "lastcall_webhook_reviews_total",
        "Objects that the webhooks were asked about, by what came of it",
    );
    for (result, count) in &totals.reviews {
        reviews.put(&[("result", result)], float(*count));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admin::test_parts::{backend, endpoint};
    use crate::model::ObjectName;
    use crate::model::report::{DEREGISTERING, IN_SERVICE, ServiceState};
    use crate::model::totals::BackendTotals;

    /// A scrape in which every family has a metric.
    pub(in crate::admin) fn full_scrape() -> Scrape {
        let mut drains = DrainTotals::new();
        drains.drained(Duration::from_millis(1500));
        drains.released_after_last_byte(Some(Duration::from_micros(300)));
        Scrape {
            uptime: Duration::from_secs(1),
            ready: true,
            configuration: ConfigurationReport {
                revision: 1,
                ..ConfigurationReport::default()
            },
            snapshot: Arc::new(certificates::tests::with_a_certificate()),
            data_plane: DataPlaneTotals {
                listeners: vec![ListenerTotals {
                    load_balancer: "default/shop".to_owned(),
                    listener: "http".to_owned(),
                    connections_open: 3,
                    connections_total: 7,
                }],
                backends: vec![BackendTotals {
                    name: ObjectName::new("shop", "api"),
                    queued: 3,
                    waited: 9,
                    waited_for: Duration::from_millis(1500),
                    refused: 4,
                    retries_denied: 2,
                }],
                responses: [0, 5, 0, 1, 0],
                refused: vec![("bad_head", 2)],
                tls_handshakes: vec![("resumed", 4)],
                tcp_ended: vec![("closed", 4)],
                mirrored: vec![("answered", 3)],
                ..DataPlaneTotals::default()
            },
            drains,
            cluster: Some(ClusterTotals {
                unprotected: vec![(ObjectName::new("shop", "web"), 2)],
                reviews: vec![("injected", 9)],
            }),
            backends: Some(vec![backend(
                "web",
                vec![
                    endpoint("10.0.0.7:80", ServiceState::InService, DEREGISTERING, 12),
                    endpoint("10.0.0.8:80", ServiceState::InService, IN_SERVICE, 1),
                ],
            )]),
        }
    }

    fn text(scrape: &Scrape) -> String {
        String::from_utf8(encode(scrape).unwrap()).unwrap()
    }

    #[test]
    fn the_numbers_are_where_their_labels_say() {
        let text = text(&full_scrape());
        for line in [
            r#"lastcall_connections{load_balancer="default/shop",listener="http"} 3"#,
            r#"lastcall_requests_total{status_class="2xx"} 5"#,
            r#"lastcall_refused_total{reason="bad_head"} 2"#,
            r#"lastcall_tls_handshakes_total{result="resumed"} 4"#,
            r#"lastcall_certificate_expiry_timestamp_seconds{load_balancer="default/shop",listener="https",certificate="shop-tls"} 2000000000"#,
            r#"lastcall_tcp_connections_ended_total{end="closed"} 4"#,
            r#"lastcall_queue_length{namespace="shop",backend="api"} 3"#,
            r#"lastcall_queued_total{namespace="shop",backend="api"} 9"#,
            r#"lastcall_queue_wait_seconds_total{namespace="shop",backend="api"} 1.5"#,
            r#"lastcall_limit_refused_total{namespace="shop",backend="api"} 4"#,
            r#"lastcall_retries_denied_total{namespace="shop",backend="api"} 2"#,
            r#"lastcall_endpoint_in_flight{namespace="default",backend="web",endpoint="10.0.0.7:80"} 12"#,
            r#"lastcall_endpoint_state{namespace="default",backend="web",endpoint="10.0.0.7:80",state="draining"} 1"#,
            r#"lastcall_endpoint_state{namespace="default",backend="web",endpoint="10.0.0.7:80",state="in_service"} 0"#,
            r#"lastcall_endpoint_state{namespace="default",backend="web",endpoint="10.0.0.8:80",state="in_service"} 1"#,
            r#"lastcall_drain_duration_seconds_bucket{le="1"} 0"#,
            r#"lastcall_drain_duration_seconds_bucket{le="2.5"} 1"#,
            r#"lastcall_release_delay_seconds_bucket{le="0.00025"} 0"#,
            r#"lastcall_release_delay_seconds_bucket{le="0.0005"} 1"#,
            r#"lastcall_release_delay_seconds_bucket{le="+Inf"} 1"#,
            r#"lastcall_holds_total{cause="drained"} 1"#,
            "lastcall_config_last_reload_successful 1",
            r#"lastcall_unprotected_pods{namespace="shop",backend="web"} 2"#,
            r#"lastcall_webhook_reviews_total{result="injected"} 9"#,
        ] {
            assert!(
                text.lines().any(|own| own == line),
                "{line}\nis not in\n{text}"
            );
        }
    }

    #[test]
    fn a_silent_coordinator_leaves_the_other_numbers() {
        let silent = Scrape {
            backends: None,
            data_plane: DataPlaneTotals::default(),
            ..full_scrape()
        };
        let text = text(&silent);
        assert!(text.contains("lastcall_coordinator_up 0\n"), "{text}");
        assert!(text.contains("lastcall_holds 0\n") && !text.contains("lastcall_endpoint"));
    }
}
