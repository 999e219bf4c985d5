//! What is observed of a real kube-apiserver: one process of it and one of etcd, no controller and no kubelet.
//! What those would write the tests write.

mod quiet;
mod routes;
mod secrets;
mod server;
mod space;
#[allow(dead_code)]
#[path = "../proxy/support/wait.rs"]
mod wait;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use lastcall::api::Backend;
use lastcall::api::protection::NotProtected;
use lastcall::plan::{Objects, plan};
use lastcall::source::kubernetes::{Kubernetes, Live, LookupError};
use serde_json::{Value, json};

use server::{PATIENCE, Server};
use space::{Space, endpoints, until};

const LOOK_UP: Duration = Duration::from_secs(5);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

#[test]
fn a_pods_life_is_seen_from_ready_to_gone() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let space = Space::new(&server).await;
        space.backend("web").await;
        let uid = space.pod("web-1", "10.1.0.1").await;
        let web = space.name("web");
        let namespaces = [space.namespace.clone()];
        let (source, mut gone) = Kubernetes::start(&space.client, &namespaces);
        let first = tokio::time::timeout(PATIENCE, source.first())
            .await
            .unwrap();
        assert_eq!(first.revision, 1);
        assert_eq!(first.objects.backends.len(), 1);
        assert!(endpoints(&first, &web).is_empty(), "no slice lists it");

        space.slice("web", &[("web-1", &uid, "10.1.0.1")]).await;
        let seen = until(&source, "an endpoint", |o| !endpoints(o, &web).is_empty()).await;
        let endpoint = endpoints(&seen, &web).remove(0);
        assert_eq!(endpoint.id.to_string(), format!("{web}/{uid}:8080"));
        assert!(endpoint.ready && endpoint.stopping.is_none());
        let pod = &seen.cluster.pods[&space.name("web-1")];
        let no_hook = NotProtected::NoHook {
            container: "app".into(),
        };
        assert_eq!(*pod.gaps, [no_hook]);

        let status = |restarts: u32| {
            json!({"containerStatuses": [{
                "name": "app", "restartCount": restarts, "ready": true, "image": "app", "imageID": "",
            }]})
        };
        space.pod_status("web-1", status(1)).await;
        let restarts = |o: &lastcall::source::Observed| {
            o.cluster.pods[&space.name("web-1")].containers[0].restarts
        };
        until(&source, "a restart", |o| restarts(o) == 1).await;

        // Its deletion is seen before any slice says so.
        let asked = Instant::now();
        space.delete_pod("web-1", 25).await;
        let stopping =
            |o: &lastcall::source::Observed| endpoints(o, &web).first().and_then(|e| e.stopping);
        let seen = until(&source, "its deletion", |o| stopping(o).is_some()).await;
        println!(
            "from asking for a deletion to publishing it: {:?}",
            asked.elapsed()
        );
        assert_eq!(stopping(&seen).unwrap().grace.as_secs(), 25);
        assert!(endpoints(&seen, &web)[0].ready, "it can serve on");
        let live = Live::new(space.client.clone(), LOOK_UP);
        let found = live.pod(&space.namespace, "web-1").await.unwrap().unwrap();
        assert_eq!(
            (&*found.uid, found.deletion),
            (&*uid, Some(Duration::from_secs(25)))
        );

        // Its grace is shortened.
        space.delete_pod("web-1", 3).await;
        until(&source, "a shorter grace", |o| {
            stopping(o).is_some_and(|s| s.grace.as_secs() == 3)
        })
        .await;

        space.delete_pod("web-1", 0).await;
        let seen = until(&source, "its end", |o| endpoints(o, &web).is_empty()).await;
        let told = tokio::time::timeout(PATIENCE, gone.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(*told.uid, *uid);
        assert!(told.revision <= seen.revision, "told when it is gone");
        assert!(live.pod(&space.namespace, "web-1").await.unwrap().is_none());

        // Another comes back under its name and address; the slice still speaks of the old one.
        let again = space.pod("web-1", "10.1.0.1").await;
        let seen = until(&source, "the new pod", |o| {
            o.cluster
                .pods
                .get(&space.name("web-1"))
                .is_some_and(|pod| pod.ready)
        })
        .await;
        assert!(endpoints(&seen, &web).is_empty(), "an address is not a pod");
        space.slice("web", &[("web-1", &again, "10.1.0.1")]).await;
        until(&source, "the new endpoint", |o| {
            endpoints(o, &web).len() == 1
        })
        .await;
    });
}

#[test]
fn only_the_namespaces_that_were_asked_for_are_watched() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let mine = Space::new(&server).await;
        let mine_too = Space::new(&server).await;
        let others = Space::new(&server).await;
        for space in [&others, &mine, &mine_too] {
            space.backend("web").await;
            space.pod("web-1", "10.1.0.1").await;
        }
        let namespaces = [mine.namespace.clone(), mine_too.namespace.clone()];
        let (source, _gone) = Kubernetes::start(&mine.client, &namespaces);
        let first = tokio::time::timeout(PATIENCE, source.first())
            .await
            .unwrap();
        let pods: Vec<_> = first.cluster.pods.keys().cloned().collect();
        assert_eq!(pods, [mine.name("web-1"), mine_too.name("web-1")]);
        assert_eq!(
            (first.objects.backends.len(), first.cluster.services.len()),
            (2, 2)
        );

        let (everything, _gone) = Kubernetes::start(&mine.client, &[]);
        let first = tokio::time::timeout(PATIENCE, everything.first())
            .await
            .unwrap();
        assert!(first.cluster.pods.contains_key(&others.name("web-1")));
    });
}

/// Law 4: what does not resolve is named, and comes right when it does.
#[test]
fn a_service_that_comes_later_resolves_its_backend() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let space = Space::new(&server).await;
        space
            .create::<Backend>(json!({
                "apiVersion": "lastcall.dev/v1alpha1", "kind": "Backend", "metadata": {"name": "web"},
                "spec": {"service": {"name": "web", "port": 80}},
            }))
            .await;
        let namespaces = [space.namespace.clone()];
        let (source, _gone) = Kubernetes::start(&space.client, &namespaces);
        let faults = |o: &lastcall::source::Observed| {
            let facts = lastcall::plan::cluster::facts(&o.objects, &o.cluster);
            let planned = plan(&o.objects, &facts);
            let all = planned
                .verdicts
                .values()
                .flat_map(|v| v.faults().collect::<Vec<_>>());
            all.map(|(_, c)| (c.reason, c.field.clone().unwrap()))
                .collect::<Vec<_>>()
        };
        let first = source.first().await;
        let missing = ("ServiceNotFound", "spec.service.name".to_owned());
        assert_eq!(faults(&first), [missing]);
        let service = |port: u16| {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {"ports": [{"name": "http", "port": port}]},
            })
        };
        space.create::<Service>(service(8080)).await;
        let other_port = ("PortNotFound", "spec.service.port".to_owned());
        until(&source, "the Service", |o| {
            faults(o) == [other_port.clone()]
        })
        .await;
        let services: Api<Service> = space.api();
        let port = json!({"spec": {"ports": [{"name": "http", "port": 80}]}});
        let params = PatchParams::default();
        services
            .patch("web", &params, &Patch::Merge(port))
            .await
            .unwrap();
        until(&source, "its port", |o| faults(o).is_empty()).await;
    });
}

/// Law 3.
#[test]
fn a_server_that_crashes_takes_nothing_away_and_what_changed_arrives_when_it_is_back() {
    let server = Server::shared();
    let _alone = server.peace.write();
    run(async {
        let space = Space::new(&server).await;
        space.backend("web").await;
        let (one, two) = (
            space.pod("web-1", "10.1.0.1").await,
            space.pod("web-2", "10.1.0.2").await,
        );
        let both = [("web-1", &*one, "10.1.0.1"), ("web-2", &*two, "10.1.0.2")];
        space.slice("web", &both).await;
        let web = space.name("web");
        let namespaces = [space.namespace.clone()];
        let (source, mut gone) = Kubernetes::start(&space.client, &namespaces);
        until(&source, "both", |o| endpoints(o, &web).len() == 2).await;

        tokio::task::block_in_place(|| server.kill_api_server());
        let live = Live::new(space.client.clone(), LOOK_UP);
        let unknown = live.pod(&space.namespace, "web-1").await;
        assert!(
            matches!(unknown, Err(LookupError::Api(_) | LookupError::Timeout(_))),
            "{unknown:?}"
        );
        let observed = source.observed().borrow().clone().unwrap();
        assert_eq!(
            endpoints(&observed, &web).len(),
            2,
            "what was known stays known"
        );

        tokio::task::block_in_place(|| server.start_api_server());
        // Most of this comes before the watches are back.
        space.delete_pod("web-1", 0).await;
        space.delete_pod("web-2", 20).await;
        let three = space.pod("web-3", "10.1.0.3").await;
        space
            .slice(
                "web",
                &[("web-2", &two, "10.1.0.2"), ("web-3", &three, "10.1.0.3")],
            )
            .await;
        until(&source, "all that changed", |o| {
            let found = endpoints(o, &web);
            let stopping = |name: &str| {
                let own = found.iter().find(|e| e.pod.as_deref() == Some(name));
                own.map(|e| e.stopping.is_some())
            };
            [stopping("web-1"), stopping("web-2"), stopping("web-3")]
                == [None, Some(true), Some(false)]
        })
        .await;
        let told = tokio::time::timeout(PATIENCE, gone.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(*told.uid, *one);
        // And the watches run on.
        space.delete_pod("web-2", 0).await;
        until(&source, "one more", |o| endpoints(o, &web).len() == 1).await;
    });
}

/// Law 4, where the CRD in the cluster is not this program's.
#[test]
fn an_object_that_cannot_be_read_leaves_the_others_and_its_own_last_content() {
    let server = Server::shared();
    let _alone = server.peace.write();
    run(async {
        let space = Space::new(&server).await;
        space.backend("good").await;
        space.backend("spoiled").await;
        let namespaces = [space.namespace.clone()];
        let (source, _gone) = Kubernetes::start(&space.client, &namespaces);
        source.first().await;

        let crds: Api<CustomResourceDefinition> = Api::all(space.client.clone());
        let ours = crds.get("backends.lastcall.dev").await.unwrap();
        server.apply_crd(&drifted()).await;
        let kind = GroupVersionKind::gvk("lastcall.dev", "v1alpha1", "Backend");
        let resource = ApiResource::from_gvk_with_plural(&kind, "backends");
        let backends: Api<DynamicObject> =
            Api::namespaced_with(space.client.clone(), &space.namespace, &resource);
        let odd = json!({"spec": {"balance": {"policy": "Magic"}}});
        let params = PatchParams::default();
        // The server takes a moment to follow the CRD.
        let spoiling = async {
            while backends
                .patch("spoiled", &params, &Patch::Merge(&odd))
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, spoiling)
            .await
            .expect("the CRD is followed");
        // A status of another version's is not read, so it spoils nothing.
        let status = json!({"status": {"total": "many"}});
        backends
            .patch_status("good", &params, &Patch::Merge(&status))
            .await
            .unwrap();
        let unborn: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "lastcall.dev/v1alpha1", "kind": "Backend",
            "metadata": {"name": "unborn"}, "spec": {"service": 5},
        }))
        .unwrap();
        backends
            .create(&PostParams::default(), &unborn)
            .await
            .unwrap();
        let seen = until(&source, "both faults", |o| o.faults.len() == 2).await;
        let names = |objects: &Objects| -> Vec<String> {
            objects
                .backends
                .iter()
                .filter_map(|b| b.metadata.name.clone())
                .collect()
        };
        assert_eq!(names(&seen.objects), ["good", "spoiled"]);
        assert!(
            seen.faults.iter().any(|f| f.message.contains("Magic")),
            "{:?}",
            seen.faults
        );

        // A replica that starts now has no last content, and starts all the same.
        let (newcomer, _gone) = Kubernetes::start(&space.client, &namespaces);
        let first = tokio::time::timeout(PATIENCE, newcomer.first())
            .await
            .unwrap();
        assert_eq!(
            (names(&first.objects), first.faults.len()),
            (vec!["good".to_owned()], 2)
        );

        for name in ["spoiled", "unborn"] {
            backends
                .delete(name, &DeleteParams::default())
                .await
                .unwrap();
        }
        until(&source, "no fault", |o| o.faults.is_empty()).await;
        let mut ours = ours;
        ours.metadata = kube::api::ObjectMeta {
            name: ours.metadata.name,
            ..Default::default()
        };
        ours.status = None;
        server.apply_crd(&ours).await;
    });
}

/// Backends whose content the API server does not check.
fn drifted()
-> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition {
    let anything: Value = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "backends.lastcall.dev"},
        "spec": {
            "group": "lastcall.dev", "scope": "Namespaced",
            "names": {"kind": "Backend", "plural": "backends", "singular": "backend", "shortNames": ["be"], "categories": ["lastcall"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}},
            }],
        },
    }))
    .unwrap()
}
