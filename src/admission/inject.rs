//! Gives a pod the hook: the one place where it is decided what of a pod is changed. Pure; called by
//! [`super::review`] for every pod that is made.
//!
//! Done twice it is the same as done once, also when another webhook has added a container in between
//! (`reinvocationPolicy: IfNeeded`); nothing that others have written is taken away, but for a preStop hook
//! that only sleeps (PITFALLS 28 and 31).

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::settings::{HookMode, HookService, InjectRequest};
use super::{exec_hook, grace};
use crate::api::pods::{HOOK_ID, PRE_STOP_PATH};
use crate::api::pre_stop::{self, PreStop};
use crate::api::protection::{NotProtected, is_static};

/// cluster-autoscaler leaves a node alone whose pods have emptyDirs, but for those named here.
const SAFE_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// The pod with the hook in each regular container that can have it, or `None` where none is wanted.
/// What of the result is not held is told by [`crate::api::protection::protection`].
///
/// Init containers get none: they end before the pod serves. Native sidecars get none: they end last
/// anyway (PITFALLS 29).
///
/// # Errors
///
/// The hook is wanted and no container can have it: the pod is to stay as it is.
pub fn inject(pod: &Pod, request: &InjectRequest) -> Result<Option<Pod>, Vec<NotProtected>> {
    let Some(drain_timeout) = request.wanted(pod) else {
        return Ok(None);
    };
    if request.settings.observe_only {
        return Ok(None);
    }
    fits(pod, request).map_err(|why| vec![why])?;
    let mut pod = pod.clone();
    let id = hook_id(&pod, request);
    let slept = hook_containers(&mut pod, request, &id)?;
    supply(&mut pod, request, id);
    if let Some(seconds) = slept {
        grace::keep_at_least(&mut pod, seconds);
    }
    grace::raise(&mut pod, drain_timeout, request.settings.max_grace_seconds);
    Ok(Some(pod))
}

/// Whether a hook could work in the pod at all.
fn fits(pod: &Pod, request: &InjectRequest) -> Result<(), NotProtected> {
    if is_static(pod) {
        return Err(NotProtected::StaticPod);
    }
    if request.settings.mode == HookMode::HttpGet {
        let forbidden = request.facts.forbids_host;
        return if forbidden {
            Err(NotProtected::PodSecurity)
        } else {
            Ok(())
        };
    }
    let Some(spec) = &pod.spec else {
        return Ok(());
    };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return Err(NotProtected::Windows);
    }
    exec_hook::names_are_free(spec)
}

/// The id that is there already, or else the one that was offered. An empty one, which a label may be, names nobody.
fn hook_id(pod: &Pod, request: &InjectRequest) -> String {
    let labels = pod.metadata.labels.as_ref();
    let there = labels.and_then(|labels| labels.get(HOOK_ID));
    let there = there.filter(|id| !id.is_empty());
    there.map_or_else(|| request.hook_id.to_owned(), Clone::clone)
}

/// Hooks each container that can be; an error where none can. Returns the longest `sleep` that was
/// replaced, in seconds.
fn hook_containers(
    pod: &mut Pod,
    request: &InjectRequest,
    id: &str,
) -> Result<Option<u32>, Vec<NotProtected>> {
    let containers = pod.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    let (mut hooked, mut slept, mut refused) = (0, None, Vec::new());
    for container in containers {
        match hook(container, request, id) {
            Ok(seconds) => {
                hooked += 1;
                slept = slept.max(seconds);
            }
            Err(why) => refused.push(why),
        }
    }
    if hooked == 0 {
        return Err(refused);
    }
    Ok(slept)
}

/// Hooks one container. Returns the seconds of the `sleep` that was replaced.
fn hook(
    container: &mut Container,
    request: &InjectRequest,
    id: &str,
) -> Result<Option<u32>, NotProtected> {
    let slept = match pre_stop::of(container) {
        PreStop::Absent | PreStop::OurExec | PreStop::OurHttpGet => None,
        PreStop::Sleep(seconds) => Some(seconds),
        PreStop::Own => {
            return Err(NotProtected::OwnPreStop {
                container: container.name.clone(),
            });
        }
    };
    let service = &request.settings.service;
    let handler = match &request.settings.mode {
        HookMode::Exec(delivery) => {
            exec_hook::paths_are_free(container)?;
            exec_hook::mount(container);
            exec_hook::handler(&container.name, delivery, service)
        }
        HookMode::HttpGet => called(&container.name, request.namespace, id, service),
    };
    container.lifecycle.get_or_insert_default().pre_stop = Some(handler);
    Ok(slept)
}

/// The hook of one container in `HTTPGet` mode. Each container has its own call (DESIGN, PITFALLS 34).
fn called(container: &str, namespace: &str, id: &str, service: &HookService) -> LifecycleHandler {
    LifecycleHandler {
        http_get: Some(HTTPGetAction {
            // The kubelet dials from the node, where the names of Services do not resolve (PITFALLS 4).
            host: Some(service.address.to_string()),
            port: IntOrString::Int(service.port.into()),
            scheme: Some("HTTPS".to_owned()),
            path: Some(format!("{PRE_STOP_PATH}{namespace}/{id}/{container}")),
            ..HTTPGetAction::default()
        }),
        ..LifecycleHandler::default()
    }
}

/// Adds to the pod what its hooks need.
fn supply(pod: &mut Pod, request: &InjectRequest, id: String) {
    match &request.settings.mode {
        HookMode::Exec(delivery) => {
            let spec = pod.spec.get_or_insert_default();
            exec_hook::supply(spec, delivery, &request.settings.service);
            if spec
                .volumes
                .iter()
                .flatten()
                .any(|v| v.name == exec_hook::HOLD && v.empty_dir.is_some())
            {
                declare_safe_volume(pod);
            }
        }
        HookMode::HttpGet => {
            let labels = pod.metadata.labels.get_or_insert_default();
            labels.insert(HOOK_ID.to_owned(), id);
        }
    }
}

/// Tells cluster-autoscaler that our emptyDir holds nothing worth a node.
fn declare_safe_volume(pod: &mut Pod) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let names = annotations.entry(SAFE_VOLUMES.to_owned()).or_default();
    if names.split(',').any(|name| name.trim() == exec_hook::HOLD) {
        return;
    }
    if !names.is_empty() {
        names.push(',');
    }
    names.push_str(exec_hook::HOLD);
}

#[cfg(test)]
mod tests;
