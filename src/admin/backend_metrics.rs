//! Metrics of what became of requests to each Backend that found no place at once, or were not sent again. Used by
//! `metrics`.

use super::exposition::{Families, float};
use crate::model::totals::BackendTotals;

/// One number of a Backend.
type Read = fn(&BackendTotals) -> f64;

const COUNTERS: [(&str, &str, Read); 4] = [
    (
        "lastcall_queued_total",
        "Requests that waited because every endpoint was full",
        |one| float(one.waited),
    ),
    (
        "lastcall_queue_wait_seconds_total",
        "How long they waited, together",
        |one| one.waited_for.as_secs_f64(),
    ),
    (
        "lastcall_limit_refused_total",
        "Requests and connections that were turned away because every endpoint was full",
        |one| float(one.refused),
    ),
    (
        "lastcall_retries_denied_total",
        "Requests that were not sent again because the retry budget was used up",
        |one| float(one.retries_denied),
    ),
];

/// The families of Backends with limits, a retry budget, keys or a slow start.
pub(super) fn backends(families: &mut Families, backends: &[BackendTotals]) {
    let mut put = |gauge: bool, name: &str, help: &str, read: Read| {
        let mut family = if gauge {
            families.gauge(name, help)
        } else {
            families.counter(name, help)
        };
        for one in backends {
            let labels = [
                ("namespace", &*one.name.namespace),
                ("backend", &*one.name.name),
            ];
            family.put(&labels, read(one));
        }
    };
    put(
        true,
        "lastcall_queue_length",
        "Requests that wait now because every endpoint is full",
        |one| float(one.queued),
    );
    for (name, help, read) in COUNTERS {
        put(false, name, help, read);
    }
}
