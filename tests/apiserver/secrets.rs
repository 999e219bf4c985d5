//! Secrets of a real kube-apiserver: which are asked for, and what becomes of a LoadBalancer that names one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use lastcall::api::LoadBalancer;
use lastcall::plan::cluster::facts;
use lastcall::plan::plan;
use lastcall::source::Observed;
use lastcall::source::kubernetes::Kubernetes;
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};

use crate::run;
use crate::server::Server;
use crate::space::{Space, until};

/// The data of a Secret with a certificate of its own.
fn data() -> Value {
    let made = generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)})
}

fn secret(name: &str, kind: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data})
}

/// How many listeners a plan of what is observed serves.
fn served(observed: &Observed) -> usize {
    let planned = plan(&observed.objects, &{
        let mut known = facts(&observed.objects, &observed.cluster);
        known.ports = Some(lastcall::plan::allotment::allot(
            &observed.objects,
            &lastcall::plan::allotment::Allotment::new(),
            &(20_000..=20_009),
        ));
        known
    });
    planned.snapshot.load_balancers[0].listeners.len()
}

#[test]
fn certificates_come_from_secrets_of_their_type_and_follow_them() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let space = Space::new(&server).await;
        let own = data();
        space
            .create::<Secret>(secret("opaque", "Opaque", &own))
            .await;
        // The schema and its rules let it through as they do in a folder.
        space
            .create::<LoadBalancer>(json!({
                "apiVersion": "lastcall.dev/v1alpha1", "kind": "LoadBalancer", "metadata": {"name": "shop"},
                "spec": {
                    "listeners": [{
                        "name": "https", "port": 443, "protocol": "HTTPS",
                        "tls": {"certificateRefs": [{"name": "shop"}]},
                    }],
                    "defaultBackend": {"name": "web"},
                },
            }))
            .await;
        let namespaces = [space.namespace.clone()];
        let (source, _gone) = Kubernetes::start(&space.client, &namespaces);
        let first = until(&source, "the first", |_| true).await;
        assert_eq!((served(&first), first.cluster.secrets.len()), (0, 0));

        space
            .create::<Secret>(secret("shop", "kubernetes.io/tls", &own))
            .await;
        let with = until(&source, "the Secret", |o| !o.cluster.secrets.is_empty()).await;
        assert_eq!(served(&with), 1);
        let known = |o: &Observed| o.cluster.secrets.get(&space.name("shop")).cloned();
        let before = known(&with).unwrap();
        assert!(before.certificate.is_ok());

        let secrets = space.api::<Secret>();
        let patch = |data: Value| Patch::Merge(json!({ "data": data }));
        let params = PatchParams::default();
        secrets
            .patch("shop", &params, &patch(data()))
            .await
            .unwrap();
        until(&source, "another certificate", |o| {
            known(o).is_some_and(|now| now != before && now.certificate.is_ok())
        })
        .await;
        let broken = patch(json!({"tls.key": STANDARD.encode("no key")}));
        secrets.patch("shop", &params, &broken).await.unwrap();
        until(&source, "what is the matter", |o| {
            known(o).is_some_and(|now| now.certificate.is_err())
        })
        .await;
        secrets
            .delete("shop", &DeleteParams::default())
            .await
            .unwrap();
        until(&source, "it gone", |o| known(o).is_none()).await;
    });
}

#[test]
fn without_the_right_no_secret_is_asked_for_and_all_else_is_published() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let space = Space::new(&server).await;
        space
            .create::<Secret>(secret("shop", "kubernetes.io/tls", &data()))
            .await;
        let namespaces = [space.namespace.clone()];
        let (source, _gone) = Kubernetes::start_with(&space.client, &namespaces, false);
        let first = until(&source, "the first", |_| true).await;
        assert!(first.cluster.secrets.is_empty());
        space.backend("web").await;
        let later = until(&source, "a Backend", |o| o.objects.backends.len() == 1).await;
        assert!(later.cluster.secrets.is_empty());
    });
}
