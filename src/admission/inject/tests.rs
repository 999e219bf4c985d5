//! The whole of an injection, by `cases.yaml`; then rule by rule; then twice.

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::admission::{Delivery, PodFacts, Settings, patch};
use crate::api::pods::{MAX_GRACE_SECONDS, MIN_SECONDS, ORIGINAL_GRACE_SECONDS};
use crate::api::protection::{Protection, protection};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    facts: Facts,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    observe_only: bool,
    pod: Value,
    #[serde(default)]
    patch: Vec<Value>,
    #[serde(default)]
    refused: Vec<String>,
    #[serde(default)]
    unheld: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Facts {
    backend_timeout_seconds: Option<u32>,
    namespace_label: Option<String>,
    #[serde(default)]
    forbids_host: bool,
}

fn settings(mode: HookMode) -> Settings {
    Settings {
        mode,
        observe_only: false,
        drain_timeout_seconds: 300,
        max_grace_seconds: 3600,
        service: HookService {
            name: "lastcall-hook.lastcall.svc.cluster.local".to_owned(),
            address: [10, 96, 0, 7].into(),
            port: 9443,
            ca_pem: "PEM\n".to_owned(),
        },
    }
}

fn by_init_container() -> HookMode {
    let each = [("cpu", "100m"), ("memory", "32Mi")];
    let each = each.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
    HookMode::Exec(Delivery::InitContainer {
        image: "lastcall:1".to_owned(),
        pull_policy: Some("IfNotPresent".to_owned()),
        resources: ResourceRequirements {
            limits: Some(each.clone().into()),
            requests: Some(each.into()),
            ..ResourceRequirements::default()
        },
    })
}

fn by_image_volume() -> HookMode {
    HookMode::Exec(Delivery::ImageVolume {
        image: "lastcall:1".to_owned(),
        pull_policy: Some("IfNotPresent".to_owned()),
    })
}

/// As [`inject()`], for a pod that a Backend with this drain timeout selects.
fn injected(pod: &Pod, settings: &Settings, drain: u32) -> Pod {
    let facts = PodFacts {
        backend_timeout_seconds: Some(drain),
        namespace_label: None,
        ..PodFacts::default()
    };
    let request = InjectRequest {
        namespace: "shop",
        settings,
        facts: &facts,
        hook_id: "id-1",
    };
    inject(pod, &request).unwrap().expect("it is wanted")
}

fn pod(yaml: &str) -> Pod {
    serde_saphyr::from_str(yaml).unwrap()
}

fn reasons(why: &[NotProtected]) -> Vec<&'static str> {
    why.iter().map(NotProtected::reason).collect()
}

#[test]
fn each_case_gets_its_patch_or_its_refusal() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("cases.yaml")).unwrap();
    for case in cases {
        let mode = match case.mode.as_deref() {
            None => by_init_container(),
            Some("ImageVolume") => by_image_volume(),
            Some("HttpGet") => HookMode::HttpGet,
            Some(other) => panic!("{other}"),
        };
        let settings = Settings {
            observe_only: case.observe_only,
            ..settings(mode)
        };
        let facts = PodFacts {
            backend_timeout_seconds: case.facts.backend_timeout_seconds,
            namespace_label: case.facts.namespace_label,
            forbids_host: case.facts.forbids_host,
        };
        let request = InjectRequest {
            namespace: "shop",
            settings: &settings,
            facts: &facts,
            hook_id: "id-1",
        };
        let before: Pod = serde_json::from_value(case.pod).unwrap();
        let (patch, refused, unheld) = match inject(&before, &request) {
            Ok(None) => (Vec::new(), Vec::new(), Vec::new()),
            Err(why) => (Vec::new(), why, Vec::new()),
            Ok(Some(after)) => {
                // As an API server sends it: never without metadata.
                let sent = serde_json::to_value(&before).unwrap();
                let patch = patch::between(&sent, &before, &after).unwrap();
                let unheld = match protection(&after) {
                    Protection::Protected => Vec::new(),
                    Protection::PartlyProtected(why) => why,
                    Protection::Unprotected(why) => panic!("{}: {why:?}", case.name),
                };
                (patch.0, Vec::new(), unheld)
            }
        };
        let patch = serde_json::to_value(patch).unwrap();
        assert_eq!(
            patch,
            Value::Array(case.patch),
            "{}:\n{}",
            case.name,
            serde_saphyr::to_string(&patch).unwrap()
        );
        assert_eq!(reasons(&refused), case.refused, "{}", case.name);
        assert_eq!(reasons(&unheld), case.unheld, "{}", case.name);
    }
}

#[test]
fn the_narrowest_word_decides_who_gets_the_hook() {
    let settings = settings(by_init_container());
    for (own, namespace, backend, expected) in [
        (None, None, None, None),
        (None, None, Some(60), Some(60)),
        (Some("enabled"), None, None, Some(300)),
        (Some("enabled"), None, Some(60), Some(60)),
        (None, Some("enabled"), None, Some(300)),
        (None, Some("disabled"), Some(60), None),
        (Some("disabled"), Some("enabled"), Some(60), None),
        (Some("enabled"), Some("disabled"), None, Some(300)),
        (None, Some("whatever"), Some(60), Some(60)),
        (None, Some("whatever"), None, None),
    ] {
        let facts = PodFacts {
            backend_timeout_seconds: backend,
            namespace_label: namespace.map(str::to_owned),
            forbids_host: false,
        };
        let request = InjectRequest {
            namespace: "shop",
            settings: &settings,
            facts: &facts,
            hook_id: "id-1",
        };
        let label = own.map_or(String::new(), |own| format!("lastcall.dev/drain: {own}"));
        let pod = pod(&format!("{{metadata: {{labels: {{{label}}}}}}}"));
        let told = format!("{own:?} {namespace:?} {backend:?}");
        assert_eq!(request.wanted(&pod), expected, "{told}");
    }
}

#[test]
fn the_grace_period_grows_by_the_drain_timeout_up_to_its_caps() {
    // (written grace, installation's maximum, the pod's own, drain timeout), (grace, original)
    for (given, expected) in [
        ((None, 3600, None, 300), (330, "30")),
        ((Some(30), 3600, None, 300), (330, "30")),
        ((Some(60), 3600, None, 10), (70, "60")),
        ((Some(0), 3600, None, 10), (10, "0")),
        ((Some(-5), 3600, None, 10), (10, "0")),
        ((Some(60), 100, None, 300), (100, "60")),
        ((Some(60), 3600, Some("90"), 300), (90, "60")),
        ((Some(60), 80, Some("90"), 300), (80, "60")),
        ((Some(60), 3600, Some("soon"), 300), (360, "60")),
        // What somebody has written is never lowered.
        ((Some(600), 100, None, 300), (600, "600")),
        ((Some(600), 3600, Some("10"), 300), (600, "600")),
        ((None, 3600, None, 0), (30, "30")),
    ] {
        let (grace, max, own, drain) = given;
        let mut before = pod("{spec: {containers: [{name: a}]}}");
        before
            .spec
            .as_mut()
            .unwrap()
            .termination_grace_period_seconds = grace;
        before.metadata.annotations =
            own.map(|own| [(MAX_GRACE_SECONDS.to_owned(), own.to_owned())].into());
        let settings = Settings {
            max_grace_seconds: max,
            ..settings(HookMode::HttpGet)
        };
        let after = injected(&before, &settings, drain);
        let grace = after
            .spec
            .unwrap()
            .termination_grace_period_seconds
            .unwrap();
        let annotations = after.metadata.annotations.unwrap();
        assert_eq!(
            (grace, annotations[ORIGINAL_GRACE_SECONDS].as_str()),
            expected,
            "{given:?}"
        );
        assert_eq!(annotations.get(MAX_GRACE_SECONDS).map(String::as_str), own);
    }
}

#[test]
fn liveness_and_startup_probes_keep_the_original_grace_and_readiness_has_none() {
    let before = pod("{spec: {terminationGracePeriodSeconds: 0, containers: [
        {name: a, livenessProbe: {periodSeconds: 1}, startupProbe: {periodSeconds: 1}, readinessProbe: {periodSeconds: 1}},
        {name: b, livenessProbe: {terminationGracePeriodSeconds: 7}},
        {name: c, lifecycle: {preStop: {exec: {command: [/quit]}}}, livenessProbe: {periodSeconds: 1}}]}}");
    let after = injected(&before, &settings(HookMode::HttpGet), 60);
    let graces: Vec<_> = after
        .spec
        .unwrap()
        .containers
        .iter()
        .flat_map(|c| [&c.liveness_probe, &c.startup_probe, &c.readiness_probe])
        .flatten()
        .map(|probe| probe.termination_grace_period_seconds)
        .collect();
    // A probe's own must be 1 or more, so 0 becomes 1.
    assert_eq!(graces, [Some(1), Some(1), None, Some(7), Some(1)]);
}

#[test]
fn the_minimum_that_was_asked_for_is_never_shortened() {
    for (there, slept, expected) in [
        (None, 15, Some("15")),
        (Some("5"), 15, Some("15")),
        (Some("50"), 15, Some("50")),
        (Some("soon"), 15, Some("15")),
    ] {
        let yaml = format!(
            "{{spec: {{containers: [{{name: a, lifecycle: {{preStop: {{sleep: {{seconds: {slept}}}}}}}}}]}}}}"
        );
        let mut before = pod(&yaml);
        before.metadata.annotations =
            there.map(|there| [(MIN_SECONDS.to_owned(), there.to_owned())].into());
        let after = injected(&before, &settings(by_init_container()), 60);
        let annotations = after.metadata.annotations.unwrap();
        assert_eq!(annotations.get(MIN_SECONDS).map(String::as_str), expected);
    }
}

#[test]
fn the_init_container_runs_as_the_user_that_all_others_run_as() {
    for (spec, expected) in [
        ("{containers: [{name: a}]}", 65532),
        (
            "{securityContext: {runAsUser: 7}, containers: [{name: a}]}",
            7,
        ),
        (
            "{securityContext: {runAsUser: 7}, containers: [{name: a, securityContext: {runAsUser: 8}}]}",
            8,
        ),
        (
            "{securityContext: {runAsUser: 7}, containers: [{name: a, securityContext: {runAsUser: 8}}, {name: b}]}",
            65532,
        ),
        (
            "{containers: [{name: a, securityContext: {runAsUser: 8}}], initContainers: [{name: b}]}",
            65532,
        ),
        (
            "{securityContext: {runAsUser: 0}, containers: [{name: a}]}",
            65532,
        ),
    ] {
        let after = injected(
            &pod(&format!("{{spec: {spec}}}")),
            &settings(by_init_container()),
            60,
        );
        let init = after.spec.unwrap().init_containers.unwrap();
        let user = init
            .last()
            .unwrap()
            .security_context
            .as_ref()
            .unwrap()
            .run_as_user;
        assert_eq!(user, Some(expected), "{spec}");
    }
}

/// What the API server fills in between two rounds.
fn defaulted(pod: &mut Pod) {
    let spec = pod.spec.as_mut().unwrap();
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        container.termination_message_path = Some("/dev/termination-log".to_owned());
        container.termination_message_policy = Some("File".to_owned());
        container
            .image_pull_policy
            .get_or_insert("Always".to_owned());
        container.resources.get_or_insert_default();
    }
    for volume in spec.volumes.iter_mut().flatten() {
        if let Some(projected) = &mut volume.projected {
            projected.default_mode = Some(0o644);
        }
    }
}

/// Another webhook adds a container, as a service mesh does, and its volume.
fn meshed(pod: &mut Pod) {
    let mesh: PodSpec = serde_saphyr::from_str(
        "{containers: [{name: mesh, livenessProbe: {periodSeconds: 1}, lifecycle: {preStop: {sleep: {seconds: 40}}}}],
          initContainers: [{name: mesh-init}], volumes: [{name: mesh, emptyDir: {}}]}",
    )
    .unwrap();
    let spec = pod.spec.as_mut().unwrap();
    spec.containers.extend(mesh.containers);
    spec.init_containers
        .get_or_insert_default()
        .extend(mesh.init_containers.unwrap());
    spec.volumes
        .get_or_insert_default()
        .extend(mesh.volumes.unwrap());
}

#[test]
fn a_container_that_came_in_between_gets_the_hook_and_nothing_else_changes() {
    for mode in [by_init_container(), by_image_volume(), HookMode::HttpGet] {
        let settings = settings(mode);
        let mut between = injected(&pod("{spec: {containers: [{name: a}]}}"), &settings, 60);
        defaulted(&mut between);
        assert_eq!(injected(&between, &settings, 60), between);
        meshed(&mut between);
        let after = injected(&between, &settings, 60);
        assert_eq!(protection(&after), Protection::Protected);
        let (was, is) = (between.spec.as_ref().unwrap(), after.spec.as_ref().unwrap());
        assert_eq!(is.containers[0], was.containers[0]);
        assert_eq!(is.init_containers, was.init_containers);
        assert_eq!(is.volumes, was.volumes);
        assert_eq!(is.termination_grace_period_seconds, Some(90));
        let probe = is.containers[1].liveness_probe.as_ref().unwrap();
        assert_eq!(probe.termination_grace_period_seconds, Some(30));
        assert_eq!(after.metadata.annotations.unwrap()[MIN_SECONDS], "40");
    }
}

#[test]
fn a_pod_that_was_copied_from_a_cluster_gets_the_hook_of_today() {
    let old = injected(
        &pod("{spec: {containers: [{name: a}]}}"),
        &settings(by_init_container()),
        60,
    );
    let mut newer = settings(by_init_container());
    newer.service.ca_pem = "NEWER\n".to_owned();
    let after = injected(&old, &newer, 60);
    let init = after.spec.unwrap().init_containers.unwrap();
    assert_eq!(init.len(), 1);
    assert_eq!(init[0].args.as_ref().unwrap().last().unwrap(), "NEWER\n");
}

fn any_pre_stop() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        ", lifecycle: {preStop: {sleep: {seconds: 15}}}",
        ", lifecycle: {preStop: {exec: {command: [sh, -c, sleep 3]}}}",
        ", lifecycle: {preStop: {exec: {command: [/quit]}}, postStart: {exec: {command: [/a]}}}",
        ", lifecycle: {postStart: {exec: {command: [/a]}}}",
        ", livenessProbe: {periodSeconds: 3}",
        ", startupProbe: {periodSeconds: 3, terminationGracePeriodSeconds: 3}",
        ", securityContext: {runAsUser: 1000}",
        ", volumeMounts: [{name: data, mountPath: /data}]",
    ])
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let metadata = prop::sample::select(vec![
        "{}",
        "{labels: {app: web}, annotations: {a: b}}",
        "{annotations: {lastcall.dev/max-grace-seconds: '45', lastcall.dev/min-seconds: '9'}}",
        "{annotations: {lastcall.dev/original-grace-seconds: '12'}}",
        "{annotations: {lastcall.dev/original-grace-seconds: never}}",
        "{labels: {lastcall.dev/hook-id: mine}}",
        "{annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes: ''}}",
    ]);
    let spec = prop::sample::select(vec![
        "",
        ", terminationGracePeriodSeconds: 0",
        ", terminationGracePeriodSeconds: 4000",
        ", hostNetwork: true, restartPolicy: Never",
        ", volumes: [{name: data, emptyDir: {}}]",
        ", initContainers: [{name: i}, {name: s, restartPolicy: Always, livenessProbe: {periodSeconds: 1}}]",
    ]);
    let containers = prop::collection::vec(any_pre_stop(), 1..4);
    (metadata, spec, containers).prop_map(|(metadata, spec, containers)| {
        let containers: Vec<String> = containers
            .iter()
            .enumerate()
            .map(|(at, rest)| format!("{{name: c{at}{rest}}}"))
            .collect();
        pod(&format!(
            "{{metadata: {metadata}, spec: {{containers: [{}]{spec}}}}}",
            containers.join(", ")
        ))
    })
}

proptest! {
    #[test]
    fn done_twice_it_is_the_same_as_done_once(
        pod in any_pod(), mode in 0..3_usize, drain in 0..4000_u32, mesh: bool, defaults: bool,
    ) {
        let settings = settings([by_init_container(), by_image_volume(), HookMode::HttpGet][mode].clone());
        let facts = PodFacts { backend_timeout_seconds: Some(drain), namespace_label: None, ..PodFacts::default() };
        let request = InjectRequest { namespace: "shop", settings: &settings, facts: &facts, hook_id: "id-1" };
        let Ok(Some(mut once)) = inject(&pod, &request) else { return Ok(()) };
        // Nothing that others wrote is gone.
        let labels = pod.metadata.labels.iter().flatten();
        prop_assert!(labels.clone().all(|(k, v)| once.metadata.labels.as_ref().is_some_and(|l| l.get(k) == Some(v))));
        let keys = pod.metadata.annotations.iter().flatten().map(|(k, _)| k);
        prop_assert!(keys.clone().all(|k| once.metadata.annotations.as_ref().unwrap().contains_key(k)));
        if defaults { defaulted(&mut once); }
        if mesh { meshed(&mut once); }
        let again = InjectRequest { hook_id: "id-2", ..request };
        let twice = inject(&once, &again).unwrap().unwrap();
        if !mesh { prop_assert_eq!(&twice, &once); }
        let thrice = inject(&twice, &again).unwrap().unwrap();
        prop_assert_eq!(&thrice, &twice);
    }
}
