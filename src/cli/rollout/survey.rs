//! `lastcall rollout --dry-run` without a workload: every pod of a namespace, or of all, that is not held when
//! it is stopped, with what it belongs to, which Backends it serves, and why.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::choice::{Choice, choose};
use super::known::Known;
use super::report::{Action, Rolled, Row, table};
use super::workload::{is_over, not_moved, owner};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::cluster::Cluster;

/// The unprotected pods of the namespace; of all where none is named.
pub(super) async fn unprotected(
    cluster: &Cluster,
    lastcall: &Client,
    namespace: Option<&str>,
) -> Result<Rolled, Failure> {
    let pods: Api<Pod> = match namespace {
        Some(namespace) => cluster.api(namespace),
        None => cluster.api_of_all(),
    };
    let sets: Api<ReplicaSet> = match namespace {
        Some(namespace) => cluster.api(namespace),
        None => cluster.api_of_all(),
    };
    let everything = ListParams::default();
    let pods = pods
        .list(&everything)
        .await
        .map_err(|error| cluster.failed("list", "pods", namespace, &error))?;
    let sets = sets
        .list(&everything)
        .await
        .map_err(|error| cluster.failed("list", "replicasets", namespace, &error))?;
    let known = Known::look(cluster, lastcall, namespace).await;
    Ok(rows(&pods.items, &sets.items, &known))
}

fn rows(pods: &[Pod], sets: &[ReplicaSet], known: &Known) -> Rolled {
    let mut by_namespace: BTreeMap<Option<&str>, Vec<ReplicaSet>> = BTreeMap::new();
    for set in sets {
        let namespace = set.metadata.namespace.as_deref();
        by_namespace.entry(namespace).or_default().push(set.clone());
    }
    let mut rows: Vec<Row> = pods
        .iter()
        .filter(|pod| !is_over(pod))
        .map(|pod| {
            let namespace = pod.metadata.namespace.as_deref();
            let own = by_namespace.get(&namespace).map_or(&[][..], Vec::as_slice);
            row(pod, own, known)
        })
        .filter(|row| !row.protected)
        .collect();
    rows.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    Rolled {
        dry_run: true,
        moved: 0,
        pods: rows,
    }
}

fn row(pod: &Pod, sets: &[ReplicaSet], known: &Known) -> Row {
    let owner = owner(pod, sets);
    let refused = not_moved(owner.as_deref());
    let choice = choose(pod, false, known.asks_for_the_hook(pod));
    let mut row = Row::new(pod, owner, &choice, true);
    if let (Some(why), false) = (refused, matches!(choice, Choice::Leave(_))) {
        row.action = Action::LeftAlone;
        row.note = Some(why.to_owned());
    }
    row.backends = known.backends(pod);
    row
}

/// For people.
pub(super) fn sentence(rolled: &Rolled) -> String {
    match rolled.pods.len() {
        0 => "all pods are held when they are stopped\n".to_owned(),
        _ => table(rolled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unprotected_pods_are_listed_with_what_they_belong_to() {
        let pod = |text: &str| -> Pod { serde_saphyr::from_str(text).unwrap() };
        let owned = |name: &str, kind: &str, by: &str| {
            pod(&format!(
                "{{metadata: {{namespace: shop, name: {name}, ownerReferences: [
                   {{apiVersion: v1, kind: {kind}, name: {by}, uid: {by}-uid, controller: true}}]}},
                  spec: {{containers: [{{name: app}}]}}}}"
            ))
        };
        let held = pod(
            "{metadata: {namespace: shop, name: held, labels: {lastcall.dev/hook-id: b}}, spec: {containers: [{name: app,
              lifecycle: {preStop: {httpGet: {path: /v1/prestop/a/b/app, port: 1}}}}]}}",
        );
        let over = pod(
            "{metadata: {namespace: shop, name: over}, spec: {containers: [{name: app}]},
              status: {phase: Succeeded}}",
        );
        let bare =
            pod("{metadata: {namespace: shop, name: bare}, spec: {containers: [{name: app}]}}");
        let set: ReplicaSet = serde_saphyr::from_str(
            "{metadata: {namespace: shop, name: app-1, uid: app-1-uid, ownerReferences: [
              {apiVersion: apps/v1, kind: Deployment, name: app, uid: d, controller: true}]}}",
        )
        .unwrap();
        let pods = [
            owned("web-1", "ReplicaSet", "app-1"),
            held,
            over,
            owned("nightly-1", "Job", "nightly"),
            bare,
        ];
        let rolled = rows(&pods, &[set], &Known::default());
        let seen: Vec<_> = rolled
            .pods
            .iter()
            .map(|row| (row.pod.as_str(), row.workload.as_deref(), row.action))
            .collect();
        assert_eq!(
            seen,
            [
                ("bare", None, Action::LeftAlone),
                ("nightly-1", Some("job/nightly"), Action::LeftAlone),
                ("web-1", Some("deployment/app"), Action::WouldMove),
            ]
        );
        assert_eq!(
            sentence(&rows(&[], &[], &Known::default())),
            "all pods are held when they are stopped\n"
        );
    }
}
