//! The way to lastcall's admin API in a cluster: a port of its pod's loopback, forwarded by the API server.
//! Which pod that is, is looked up for each call: lastcall may be updated in between.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use super::{Cluster, is_code};
use crate::cli::Failure;
use crate::cli::dial::{Dial, Dialled};

/// The label of lastcall's own pods.
const LABEL: &str = "app.kubernetes.io/name=lastcall";
/// Where the chart installs it by itself.
const NAMESPACE: &str = "lastcall";
/// `--admin-address` of lastcall's pods where they do not say another.
const ADMIN_PORT: u16 = 9901;

/// A port of lastcall's pod.
pub(super) struct Forward {
    cluster: Cluster,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cluster.name)
    }
}

impl Forward {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    async fn forward(&self) -> Result<Dialled, Failure> {
        let (pods, looked_in) = self.pods().await?;
        let found = pick(&pods).map_err(|none| match none {
            NoPod::Several(namespaces) => Failure::Usage(format!(
                "lastcall runs in several namespaces of {}: {namespaces}; --lastcall-namespace says which is meant",
                self.cluster.name
            )),
            NoPod::None => self.unreachable(&format!("{looked_in} has a pod with label {LABEL}")),
            NoPod::NotReady(names) => self.unreachable(&format!("not ready: {names}")),
        })?;
        let mut forwarded = self
            .cluster
            .api::<Pod>(&found.namespace)
            .portforward(&found.name, &[found.port])
            .await
            // A websocket is opened with GET; since 1.35 RBAC asks for `create` besides.
            .map_err(|error| {
                let namespace = Some(found.namespace.as_str());
                self.cluster
                    .failed("get and create", "pods/portforward", namespace, &error)
            })?;
        let (stream, trouble) = (
            forwarded.take_stream(found.port),
            forwarded.take_error(found.port),
        );
        match (stream, trouble) {
            (Some(stream), Some(trouble)) => Ok(Dialled {
                stream: Box::new(stream),
                trouble: Box::pin(trouble),
            }),
            _ => Err(self.unreachable("its port was not forwarded")),
        }
    }

    /// lastcall's pods, and where they were looked for.
    async fn pods(&self) -> Result<(Vec<Pod>, String), Failure> {
        let labelled = ListParams::default().labels(LABEL);
        let namespace = if let Some(namespace) = &self.cluster.lastcall_namespace {
            namespace.as_str()
        } else {
            let all = self.cluster.api_of_all::<Pod>().list(&labelled).await;
            match all {
                Ok(pods) => return Ok((pods.items, "no namespace".to_owned())),
                Err(error) if is_code(&error, 403) => NAMESPACE,
                Err(error) => return Err(self.cluster.failed("list", "pods", None, &error)),
            }
        };
        let pods = self.cluster.api::<Pod>(namespace).list(&labelled).await;
        let pods =
            pods.map_err(|error| self.cluster.failed("list", "pods", Some(namespace), &error))?;
        Ok((
            pods.items,
            format!("not even namespace {namespace}, the only one looked in,"),
        ))
    }
}

impl Dial for Forward {
    fn dial(&self) -> BoxFuture<'_, Result<Dialled, Failure>> {
        Box::pin(self.forward())
    }

    fn place(&self) -> String {
        format!("lastcall in {}", self.cluster.name)
    }

    fn advice(&self) -> &'static str {
        "is lastcall installed there? --lastcall-namespace says in which namespace, --context in which cluster, --admin-socket asks one on this machine"
    }
}

/// The pod to ask.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    namespace: String,
    name: String,
    port: u16,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
enum NoPod {
    None,
    NotReady(String),
    Several(String),
}

/// The newest pod that is ready and stays: during an update that is the one whose configuration will run on.
fn pick(pods: &[Pod]) -> Result<Found, NoPod> {
    let full = |pod: &Pod| {
        let metadata = &pod.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        (namespace, metadata.name.clone().unwrap_or_default())
    };
    let ready: Vec<&Pod> = pods.iter().filter(|pod| is_ready(pod)).collect();
    let namespaces: BTreeSet<String> = ready.iter().map(|pod| full(pod).0).collect();
    if namespaces.len() > 1 {
        let all: Vec<String> = namespaces.into_iter().collect();
        return Err(NoPod::Several(all.join(", ")));
    }
    let newest = ready
        .into_iter()
        .max_by_key(|pod| (pod.metadata.creation_timestamp.clone(), full(pod)));
    match newest {
        Some(pod) => {
            let (namespace, name) = full(pod);
            let port = admin_port(pod);
            Ok(Found {
                namespace,
                name,
                port,
            })
        }
        None if pods.is_empty() => Err(NoPod::None),
        None => {
            let names: Vec<String> = pods
                .iter()
                .map(full)
                .map(|(a, b)| format!("{a}/{b}"))
                .collect();
            Err(NoPod::NotReady(names.join(", ")))
        }
    }
}

/// Ready, and nobody has asked it to end.
pub(in crate::cli) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
    });
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The port of `--admin-address` in its command line.
fn admin_port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut words = containers.flat_map(|one| one.command.iter().chain(&one.args).flatten());
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("--admin-address") else {
            continue;
        };
        let address = rest
            .strip_prefix('=')
            .or_else(|| words.next().map(String::as_str));
        let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        return port.unwrap_or(ADMIN_PORT);
    }
    ADMIN_PORT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str, made: u8, ready: &str, args: &str) -> Pod {
        let yaml = format!(
            "{{metadata: {{namespace: {namespace}, name: {name}, creationTimestamp: '2026-01-01T00:00:0{made}Z'}},
              spec: {{containers: [{{name: lastcall, args: [{args}]}}]}},
              status: {{conditions: [{{type: Ready, status: '{ready}'}}]}}}}"
        );
        serde_saphyr::from_str(&yaml).unwrap()
    }

    #[test]
    fn the_newest_ready_pod_of_one_installation_is_asked() {
        let ending = || {
            let mut pod = pod("lastcall", "ending", 5, "True", "run");
            pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
            pod
        };
        let old = || pod("lastcall", "old", 1, "True", "run");
        let new = || pod("lastcall", "new", 2, "True", "run");
        let starting = || pod("lastcall", "starting", 3, "False", "run");
        let other = || pod("elsewhere", "other", 4, "True", "run");
        let is = |name: &str| Ok(name.to_owned());
        for (pods, expected) in [
            (vec![], Err(NoPod::None)),
            (vec![old(), new(), starting(), ending()], is("new")),
            (
                vec![starting()],
                Err(NoPod::NotReady("lastcall/starting".to_owned())),
            ),
            (
                vec![ending()],
                Err(NoPod::NotReady("lastcall/ending".to_owned())),
            ),
            (
                vec![old(), other()],
                Err(NoPod::Several("elsewhere, lastcall".to_owned())),
            ),
        ] {
            assert_eq!(pick(&pods).map(|found| found.name), expected);
        }
    }

    #[test]
    fn the_port_is_the_one_that_the_pod_was_told() {
        for (args, port) in [
            ("run", 9901),
            ("run, '--admin-address=127.0.0.1:8801'", 8801),
            (
                "run, --admin-address, '127.0.0.1:8802', --observe-only",
                8802,
            ),
            ("run, --admin-address, '[::1]:8803'", 8803),
        ] {
            assert_eq!(
                admin_port(&pod("lastcall", "a", 1, "True", args)),
                port,
                "{args}"
            );
        }
    }
}
