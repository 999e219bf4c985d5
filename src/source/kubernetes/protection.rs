//! Whether a pod's containers ask before they stop: read from the pod itself, so it is true also of pods that
//! are older than the installation or that the webhook missed (PITFALLS 27). Called by `trim`.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use crate::plan::cluster::Protection;

/// The label by which a pod declines.
const DRAIN: &str = "lastcall.dev/drain";
/// The program that a hook in exec mode runs.
const PROGRAM: &str = "lastcall-hold";
/// Where a hook in `HTTPGet` mode asks.
const PATH: &str = "/v1/prestop/";

/// What the pod's regular containers have. Native sidecars need no hook: they wait for the others.
pub(super) fn protection(pod: &Pod) -> Protection {
    let labels = pod.metadata.labels.as_ref();
    if labels
        .and_then(|labels| labels.get(DRAIN))
        .map(String::as_str)
        == Some("disabled")
    {
        return Protection::NotWanted;
    }
    let mut without = None;
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        match pre_stop(container) {
            Some(handler) if is_ours(handler) => {}
            Some(_) => return Protection::OwnHook(container.name.as_str().into()),
            None => without = without.or(Some(container)),
        }
    }
    without.map_or(Protection::Hooked, |container| {
        Protection::NoHook(container.name.as_str().into())
    })
}

fn pre_stop(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.pre_stop.as_ref()
}

fn is_ours(handler: &LifecycleHandler) -> bool {
    if let Some(exec) = &handler.exec {
        let program = exec.command.as_ref().and_then(|words| words.first());
        return program.is_some_and(|path| path.rsplit('/').next() == Some(PROGRAM));
    }
    let get = handler.http_get.as_ref();
    get.and_then(|get| get.path.as_deref())
        .is_some_and(|path| path.starts_with(PATH))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_is_held_only_where_every_regular_container_asks() {
        let exec = |program: &str| json!({"exec": {"command": [program, "--pod"]}});
        let ours = || exec("/.lastcall/lastcall-hold");
        let get = |path: &str| json!({"httpGet": {"path": path, "port": 8443, "host": "10.0.0.1"}});
        let no_hook = |name: &str| Protection::NoHook(name.into());
        let own_hook = |name: &str| Protection::OwnHook(name.into());
        for (hooks, wanted) in [
            (vec![ours()], Protection::Hooked),
            (
                vec![get("/v1/prestop/ns/id/c0"), ours()],
                Protection::Hooked,
            ),
            (vec![Value::Null], no_hook("c0")),
            (vec![ours(), Value::Null], no_hook("c1")),
            (vec![exec("nginx")], own_hook("c0")),
            (vec![json!({"exec": {}})], own_hook("c0")),
            (vec![get("/quit")], own_hook("c0")),
            (vec![json!({"sleep": {"seconds": 5}})], own_hook("c0")),
            // What somebody wrote is the more telling reason.
            (vec![Value::Null, exec("nginx")], own_hook("c1")),
        ] {
            let containers: Vec<Value> = (0..)
                .zip(&hooks)
                .map(|(at, hook)| json!({"name": format!("c{at}"), "lifecycle": {"preStop": hook}}))
                .collect();
            let mut pod: Pod = serde_json::from_value(json!({
                "spec": {
                    "containers": containers,
                    // A native sidecar, which waits for the others.
                    "initContainers": [{"name": "mesh", "restartPolicy": "Always"}],
                }
            }))
            .unwrap();
            assert_eq!(protection(&pod), wanted, "{hooks:?}");
            let labels = [(DRAIN.to_owned(), "disabled".to_owned())];
            pod.metadata.labels = Some(labels.into());
            assert_eq!(protection(&pod), Protection::NotWanted);
        }
    }
}
