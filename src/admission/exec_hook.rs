//! Exec mode: what a pod needs so that its containers can run `lastcall-hold`: the program, where to
//! ask, and a token that proves which pod asks. Pure; called by [`super::inject`].
//!
//! All of it passes `PodSecurity` restricted. Lists are only added to at their end, or changed in place, so
//! that a JSON patch never moves what others have written.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, ExecAction, ImageVolumeSource, LifecycleHandler,
    PodSpec, ProjectedVolumeSource, SeccompProfile, SecurityContext, ServiceAccountTokenProjection,
    Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;
use serde_json::Value;

use super::settings::{Delivery, HookService};
use crate::api::pods::{HOLD_DIRECTORY, HOLD_PROGRAM, TOKEN_AUDIENCE, TOKEN_DIRECTORY, TOKEN_FILE};
use crate::api::protection::NotProtected;

/// The init container and the volume with the program.
pub const HOLD: &str = "lastcall-hold";
/// The volume with the token.
pub const TOKEN: &str = "lastcall-token";
/// The program in the root of lastcall's image.
const PROGRAM_IN_IMAGE: &str = "/lastcall-hold";
/// The user of the init container where the pod's containers do not agree on one.
const USER: i64 = 65532;
/// Room for the program and its configuration.
const SIZE: &str = "32Mi";
/// The kubelet renews a token when 4/5 of this have passed.
const TOKEN_SECONDS: i64 = 3600;

/// The hook of one container.
pub(super) fn handler(
    container: &str,
    delivery: &Delivery,
    service: &HookService,
) -> LifecycleHandler {
    let mut command: Vec<String> = [HOLD_PROGRAM, "--pod", "--container", container]
        .map(str::to_owned)
        .into();
    // Without an init container nobody writes a configuration beside the program.
    if matches!(delivery, Delivery::ImageVolume { .. }) {
        command.extend(where_to_ask(service));
    }
    LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(command),
        }),
        ..LifecycleHandler::default()
    }
}

fn where_to_ask(service: &HookService) -> Vec<String> {
    [
        ("--service", service.name.clone()),
        ("--address", service.address.to_string()),
        ("--port", service.port.to_string()),
        ("--ca-pem", service.ca_pem.clone()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

/// Whether the names that the hook needs are free, or ours from an earlier round.
pub(super) fn names_are_free(spec: &PodSpec) -> Result<(), NotProtected> {
    let taken = |kind, name| Err(NotProtected::NameTaken { kind, name });
    let volume = |name: &str| spec.volumes.iter().flatten().find(|v| v.name == name);
    if volume(HOLD).is_some_and(|v| v.empty_dir.is_none() && v.image.is_none()) {
        return taken("volume", HOLD);
    }
    if volume(TOKEN).is_some_and(|v| v.projected.is_none()) {
        return taken("volume", TOKEN);
    }
    let foreign = |c: &&Container| c.name == HOLD && !is_installer(c);
    let init = spec.init_containers.iter().flatten().find(foreign);
    if init.is_some() || spec.containers.iter().any(|c| c.name == HOLD) {
        return taken("container", HOLD);
    }
    Ok(())
}

fn is_installer(container: &Container) -> bool {
    let command = container.command.as_deref().unwrap_or_default();
    command.iter().map(String::as_str).eq(install_command())
}

fn install_command() -> [&'static str; 3] {
    [PROGRAM_IN_IMAGE, "install", HOLD_DIRECTORY]
}

/// Whether the paths that the hook needs in a container are free, or ours.
pub(super) fn paths_are_free(container: &Container) -> Result<(), NotProtected> {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (path, volume) in MOUNTS {
        if mounts
            .iter()
            .any(|m| m.mount_path.trim_end_matches('/') == path && m.name != volume)
        {
            return Err(NotProtected::PathTaken {
                container: container.name.clone(),
                path,
            });
        }
    }
    Ok(())
}

/// Where in a container which volume is mounted.
const MOUNTS: [(&str, &str); 2] = [(HOLD_DIRECTORY, HOLD), (TOKEN_DIRECTORY, TOKEN)];

/// Mounts the program and the token in a container, read-only.
pub(super) fn mount(container: &mut Container) {
    for (path, name) in MOUNTS {
        let wanted = VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        };
        let mounts = container.volume_mounts.get_or_insert_default();
        put(mounts, wanted, |m| {
            m.mount_path.trim_end_matches('/') == path
        });
    }
}

/// Adds the volumes, and the init container where there is to be one.
pub(super) fn supply(spec: &mut PodSpec, delivery: &Delivery, service: &HookService) {
    let volumes = spec.volumes.get_or_insert_default();
    put(volumes, program_volume(delivery), |v| v.name == HOLD);
    put(volumes, token_volume(), |v| v.name == TOKEN);
    if let Delivery::InitContainer { .. } = delivery {
        let installer = installer(spec, delivery, service);
        let init = spec.init_containers.get_or_insert_default();
        put(init, installer, |c| c.name == HOLD);
    }
}

fn program_volume(delivery: &Delivery) -> Volume {
    let mut volume = Volume {
        name: HOLD.to_owned(),
        ..Volume::default()
    };
    match delivery {
        Delivery::InitContainer { .. } => {
            volume.empty_dir = Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(SIZE.to_owned())),
                ..EmptyDirVolumeSource::default()
            });
        }
        Delivery::ImageVolume { image, pull_policy } => {
            volume.image = Some(ImageVolumeSource {
                reference: Some(image.clone()),
                pull_policy: pull_policy.clone(),
            });
        }
    }
    volume
}

fn token_volume() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(TOKEN_AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: TOKEN_FILE.to_owned(),
        ..ServiceAccountTokenProjection::default()
    };
    Volume {
        name: TOKEN.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(token),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The init container that copies the program, and writes down where to ask.
fn installer(spec: &PodSpec, delivery: &Delivery, service: &HookService) -> Container {
    let mut container = Container {
        name: HOLD.to_owned(),
        command: Some(install_command().map(str::to_owned).into()),
        args: Some(where_to_ask(service)),
        security_context: Some(restricted(common_user(spec).unwrap_or(USER))),
        volume_mounts: Some(vec![VolumeMount {
            name: HOLD.to_owned(),
            mount_path: HOLD_DIRECTORY.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    };
    if let Delivery::InitContainer {
        image,
        pull_policy,
        resources,
    } = delivery
    {
        container.image = Some(image.clone());
        container.image_pull_policy.clone_from(pull_policy);
        container.resources = Some(resources.clone());
    }
    container
}

/// What `PodSecurity` restricted asks of a container, and a read-only root.
fn restricted(user: i64) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}

/// The user that all containers of the pod run as, where they name the same one and it is not root.
///
/// The kubelet makes projected tokens readable for that user alone; an init container with another user
/// would make all the pod's tokens readable for everybody in it.
fn common_user(spec: &PodSpec) -> Option<i64> {
    let pod = spec.security_context.as_ref().and_then(|s| s.run_as_user);
    let others = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.name != HOLD);
    let mut users = spec.containers.iter().chain(others).map(|container| {
        let own = container.security_context.as_ref();
        own.and_then(|s| s.run_as_user).or(pod)
    });
    let first = users.next().flatten().filter(|user| *user > 0)?;
    users.all(|user| user == Some(first)).then_some(first)
}

/// Puts an item in its place in a list, or at the end. One that is there and says all of what is wanted is
/// left as it is: between two rounds the API server has filled in defaults.
fn put<T: Serialize>(list: &mut Vec<T>, wanted: T, is_it: impl Fn(&T) -> bool) {
    match list.iter_mut().find(|item| is_it(item)) {
        Some(there) if says_all(there, &wanted) => {}
        Some(there) => *there = wanted,
        None => list.push(wanted),
    }
}

fn says_all<T: Serialize>(there: &T, wanted: &T) -> bool {
    match (serde_json::to_value(there), serde_json::to_value(wanted)) {
        (Ok(there), Ok(wanted)) => covers(&there, &wanted),
        _ => false,
    }
}

/// Whether `there` has every field of `wanted`, with the same value; it may have more fields.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| there.get(key).is_some_and(|own| covers(own, value))),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() >= wanted.len() && there.iter().zip(wanted).all(|(a, b)| covers(a, b))
        }
        (there, wanted) => there == wanted,
    }
}
