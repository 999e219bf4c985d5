//! The grace period: the time a pod has from the call of its preStop hook to SIGKILL. It is raised by the
//! drain timeout, and the probes keep the original as their own, so that a hung app is not kept longer
//! (PITFALLS 6 and 33). Pure; called by [`super::inject`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::api::pods::{MAX_GRACE_SECONDS, MIN_SECONDS, ORIGINAL_GRACE_SECONDS};

/// The grace period of a pod that names none, in seconds (Kubernetes, `PodSpec`).
const DEFAULT: i64 = 30;

/// Raises the pod's grace period for a drain of so many seconds, and writes down what it was.
///
/// The sum is capped by the installation's `max` and by the pod's own annotation, and never lower than
/// what somebody has written: done twice it is the same as done once.
pub(super) fn raise(pod: &mut Pod, drain_timeout: u32, max: u32) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let spec = pod.spec.get_or_insert_default();
    let current = spec
        .termination_grace_period_seconds
        .unwrap_or(DEFAULT)
        .max(0);
    let original = number(annotations, ORIGINAL_GRACE_SECONDS)
        .map_or(current, i64::from)
        .min(current);
    let own_max = number(annotations, MAX_GRACE_SECONDS).unwrap_or(u32::MAX);
    let raised = (original + i64::from(drain_timeout)).min(max.min(own_max).into());
    spec.termination_grace_period_seconds = Some(raised.max(current));
    annotations.insert(ORIGINAL_GRACE_SECONDS.to_owned(), original.to_string());
    keep_for_probes(spec, original);
}

/// Gives liveness and startup probes without a grace period of their own the original one. Readiness
/// probes kill nobody, and may not have one.
fn keep_for_probes(spec: &mut PodSpec, original: i64) {
    let native = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(native) {
        let Container {
            liveness_probe,
            startup_probe,
            ..
        } = container;
        for probe in [liveness_probe, startup_probe].into_iter().flatten() {
            // A probe's own must be 1 or more.
            probe
                .termination_grace_period_seconds
                .get_or_insert(original.max(1));
        }
    }
}

/// Writes down the longest of the `sleep` hooks that were replaced, if a longer time is not there yet.
pub(super) fn keep_at_least(pod: &mut Pod, slept: u32) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let there = number(annotations, MIN_SECONDS);
    if there.is_none_or(|there| there < slept) {
        annotations.insert(MIN_SECONDS.to_owned(), slept.to_string());
    }
}

/// What is wrong with the annotations that a user may write; they are ignored where they say no number.
pub fn annotation_faults(pod: &Pod) -> Vec<String> {
    let Some(annotations) = &pod.metadata.annotations else {
        return Vec::new();
    };
    [MAX_GRACE_SECONDS, MIN_SECONDS, ORIGINAL_GRACE_SECONDS]
        .into_iter()
        .filter_map(|key| {
            let text = annotations.get(key)?;
            let bad = text.parse::<u32>().is_err();
            bad.then(|| {
                format!(
                    "annotation {key}: {text:?} is not a whole number of seconds; it is ignored"
                )
            })
        })
        .collect()
}

fn number(annotations: &BTreeMap<String, String>, key: &str) -> Option<u32> {
    annotations.get(key)?.parse().ok()
}
