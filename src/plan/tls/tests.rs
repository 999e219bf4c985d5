//! Law 4 for what TLS names: what does not resolve, what keeps its last good content, and what is said.

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::super::tests::{be, lb};
use super::*;
use crate::model::tls::TlsVersion;
use crate::model::{EndpointProtocol, Protocol};
use crate::plan::{Kind, ObjectRef, Objects, Plan, Verdict, plan};

/// 2030-01-01.
const NOW: i64 = 1_893_456_000;

/// A Secret of that name whose certificate expires at the start of that year.
fn until(name: &str, year: i32) -> Secret {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let (pem, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    Secret::read(name, |part| match part {
        CERTIFICATE | CA => Ok(pem.as_bytes()),
        _ => Ok(key.as_bytes()),
    })
}

fn good(name: &str) -> Secret {
    until(name, 2040)
}

fn broken() -> Secret {
    Secret::read("any", |_| Err("is missing".to_owned()))
}

/// One after the other, each knowing what the one before came to.
struct Scene {
    facts: Facts,
    objects: Objects,
}

impl Scene {
    #[allow(clippy::needless_pass_by_value)] // a literal, at every call
    fn new(tls: serde_json::Value) -> Self {
        let load_balancer = lb(
            "shop",
            json!({
                "listeners": [
                    {"name": "http", "port": 80},
                    {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls},
                ],
                "defaultBackend": {"name": "web"},
            }),
        );
        let backend = be(
            "web",
            json!({
                "static": [{"address": "10.0.0.1", "port": 443}],
                "protocol": "HTTPS",
                "tls": {"serverName": "web.test", "caRef": {"name": "ca"}},
            }),
        );
        let facts = Facts {
            now: NOW,
            ..Facts::default()
        };
        let objects = Objects {
            load_balancers: vec![load_balancer],
            backends: vec![backend],
        };
        Self { facts, objects }
    }

    /// Plans with these Secrets.
    fn with(&mut self, secrets: &[(&str, &Secret)]) -> Plan {
        let secrets = secrets.iter().map(|(name, secret)| {
            (
                ObjectName::new("default", name),
                Arc::new((*secret).clone()),
            )
        });
        self.facts.secrets = Arc::new(secrets.collect());
        let plan = plan(&self.objects, &self.facts);
        self.facts.before = Some(Arc::new(plan.snapshot.clone()));
        plan
    }
}

/// The TLS of the listener, where it is served.
fn served(plan: &Plan) -> Option<&ListenerTls> {
    let listeners = &plan.snapshot.load_balancers[0].listeners;
    let https = listeners.iter().find(|own| &*own.name == "https")?;
    Some(https.tls.as_deref().expect("never in clear text"))
}

fn verdict(plan: &Plan, kind: Kind) -> &Verdict {
    let found = plan.verdicts.iter().find(|(own, _)| own.kind == kind);
    found.map(|(ObjectRef { .. }, verdict)| verdict).unwrap()
}

/// What is said of the listener: its reasons where something is wrong, and the first message.
fn said(plan: &Plan) -> (Vec<&'static str>, String) {
    let verdict = verdict(plan, Kind::LoadBalancer);
    let (_, conditions) = verdict
        .listeners
        .iter()
        .find(|(name, _)| name == "https")
        .unwrap();
    let mut faults = conditions.iter().filter(|own| own.is_fault());
    let reasons = faults.clone().map(|own| own.reason).collect();
    let last = faults.next_back().map(|own| own.message.clone());
    (reasons, last.unwrap_or_default())
}

fn one_certificate() -> serde_json::Value {
    json!({"certificateRefs": [{"name": "a"}]})
}

#[test]
fn what_resolves_is_served() {
    let mut scene = Scene::new(json!({
        "certificateRefs": [{"name": "a"}, {"name": "b"}],
        "clientCARef": {"name": "c"},
        "minVersion": "TLS1.3",
    }));
    let (a, b, c, ca) = (good("a"), good("b"), good("c"), good("ca"));
    let plan = scene.with(&[("a", &a), ("b", &b), ("c", &c), ("ca", &ca)]);
    let tls = served(&plan).unwrap();
    assert_eq!(
        tls.certificates[..],
        [a.certificate.unwrap(), b.certificate.unwrap()]
    );
    assert_eq!(tls.client_ca, Some(c.ca.unwrap()));
    assert_eq!(tls.min_version, TlsVersion::V13);
    assert_eq!(said(&plan), (vec![], String::new()));
    let spoken = UpstreamTls::Spoken(Arc::new(BackendTls {
        ca: Some(ca.ca.unwrap()),
        server_name: "web.test".into(),
    }));
    assert_eq!(plan.snapshot.backends[0].tls, spoken);
    assert_eq!(verdict(&plan, Kind::Backend).faults().count(), 0);
}

/// Law 4.
#[test]
fn what_does_not_resolve_takes_only_its_own_listener_out_of_service() {
    let expired = until("a", 2029);
    for (secrets, says) in [
        (
            vec![],
            "spec.listeners[1].tls.certificateRefs[0].name: there is no folder a",
        ),
        (
            vec![("a", broken())],
            "spec.listeners[1].tls.certificateRefs[0].name: a: tls.crt is missing",
        ),
        (
            vec![("a", expired)],
            "spec.listeners[1].tls.certificateRefs[0].name: a: tls.crt has expired: Mon, 01 Jan 2029",
        ),
    ] {
        let mut scene = Scene::new(one_certificate());
        let secrets: Vec<_> = secrets.iter().map(|(name, own)| (*name, own)).collect();
        let plan = scene.with(&secrets);
        assert!(served(&plan).is_none());
        assert_eq!(plan.snapshot.load_balancers[0].listeners.len(), 1);
        let (reasons, message) = said(&plan);
        assert_eq!(reasons, ["RefsNotResolved", "InvalidCertificateRef"]);
        assert!(message.starts_with(says), "{message}");
    }
}

/// Law 4.
#[test]
fn what_once_resolved_keeps_its_last_good_content() {
    let (first, second, expired) = (good("a"), good("a"), until("a", 2029));
    let mut scene = Scene::new(one_certificate());
    scene.with(&[("a", &first)]);
    for secrets in [
        vec![("a", broken())],
        vec![("a", expired)],
        vec![],
        vec![("b", good("b"))],
    ] {
        let secrets: Vec<_> = secrets.iter().map(|(name, own)| (*name, own)).collect();
        let plan = scene.with(&secrets);
        assert_eq!(
            served(&plan).unwrap().certificates[0],
            *first.certificate.as_ref().unwrap()
        );
        let (reasons, message) = said(&plan);
        assert_eq!(reasons, ["InvalidCertificateRef"]);
        assert!(
            message.ends_with("what it held before goes on to be served"),
            "{message}"
        );
    }
    let plan = scene.with(&[("a", &second)]);
    assert_eq!(
        served(&plan).unwrap().certificates,
        [second.certificate.unwrap()]
    );
    assert_eq!(said(&plan), (vec![], String::new()));
}

#[test]
fn a_certificate_that_expires_while_it_is_served_goes_on_and_a_later_one_takes_its_place() {
    let (first, later) = (until("a", 2031), until("a", 2032));
    let mut scene = Scene::new(one_certificate());
    scene.with(&[("a", &first)]);
    scene.facts.now = NOW + 10 * 366 * 86_400;
    let plan = scene.with(&[("a", &first)]);
    assert_eq!(
        served(&plan).unwrap().certificates,
        [first.certificate.unwrap()]
    );
    assert_eq!(said(&plan).0, ["InvalidCertificateRef"]);
    let plan = scene.with(&[("a", &later)]);
    assert_eq!(
        served(&plan).unwrap().certificates,
        [later.certificate.unwrap()]
    );
}

#[test]
fn of_several_certificates_those_that_resolve_are_served() {
    let mut scene = Scene::new(json!({"certificateRefs": [{"name": "a"}, {"name": "b"}]}));
    let b = good("b");
    let plan = scene.with(&[("b", &b)]);
    assert_eq!(
        served(&plan).unwrap().certificates,
        [b.certificate.unwrap()]
    );
    assert_eq!(said(&plan).0, ["InvalidCertificateRef"]);
}

#[test]
fn nobody_is_let_in_or_believed_without_the_authorities_that_are_named() {
    let mut scene = Scene::new(json!({
        "certificateRefs": [{"name": "a"}],
        "clientCARef": {"name": "c"},
    }));
    let (a, c) = (good("a"), good("c"));
    let plan = scene.with(&[("a", &a)]);
    assert!(served(&plan).is_none());
    assert_eq!(
        said(&plan).0,
        ["RefsNotResolved", "InvalidCACertificateRef"]
    );
    assert_eq!(plan.snapshot.backends[0].tls, UpstreamTls::Unresolved);
    let faults: Vec<_> = verdict(&plan, Kind::Backend)
        .faults()
        .map(|(_, own)| (own.reason, own.field.clone().unwrap()))
        .collect();
    let field = "spec.tls.caRef.name".to_owned();
    assert_eq!(faults, [("InvalidCACertificateRef", field)]);

    // Once known they stay, as long as they are meant.
    let ca = good("ca");
    scene.with(&[("a", &a), ("c", &c), ("ca", &ca)]);
    let plan = scene.with(&[("a", &a)]);
    assert_eq!(served(&plan).unwrap().client_ca, Some(c.ca.unwrap()));
    assert!(matches!(&plan.snapshot.backends[0].tls, UpstreamTls::Spoken(tls) if tls.ca.is_some()));
    let other = "d".to_owned();
    let tls = scene.objects.load_balancers[0].spec.listeners[1]
        .tls
        .as_mut();
    tls.unwrap().client_ca_ref.as_mut().unwrap().name = other;
    let plan = scene.with(&[("a", &a)]);
    assert!(served(&plan).is_none());
}

/// TLS that ends before bytes does so as before HTTP; what is passed through needs no Secret.
#[test]
fn a_listener_of_protocol_tls_ends_it_unless_it_is_passed_through() {
    let shop = until("shop", 2040);
    for (tls, protocol) in [
        (
            json!({"certificateRefs": [{"name": "shop"}]}),
            Protocol::Tls,
        ),
        (json!({"mode": "Passthrough"}), Protocol::TlsPassthrough),
    ] {
        let mut scene = Scene::new(json!({}));
        scene.objects.load_balancers = vec![lb(
            "shop",
            json!({
                "listeners": [{"name": "tls", "port": 443, "protocol": "TLS", "tls": tls}],
                "defaultBackend": {"name": "web"},
            }),
        )];
        let backend = json!({"static": [{"address": "10.0.0.1", "port": 1}], "protocol": "TCP"});
        scene.objects.backends = vec![be("web", backend)];
        let plan = scene.with(&[("shop", &shop)]);
        let own = &plan.snapshot.load_balancers[0];
        assert_eq!(own.listeners[0].protocol, protocol);
        let ends_here = protocol == Protocol::Tls;
        assert_eq!(own.listeners[0].tls.is_some(), ends_here);
        assert!(own.streams.default_backend.is_some());
        // Law 4: without its certificate it is not served, in clear text least of all.
        scene.facts.before = None;
        let plan = scene.with(&[]);
        let own = &plan.snapshot.load_balancers[0];
        assert_eq!(own.listeners.len(), usize::from(!ends_here));
    }
}

#[test]
fn what_endpoints_speak_in_tls_is_as_their_backend_says() {
    for (fields, protocol) in [
        (json!({"protocol": "HTTPS"}), EndpointProtocol::Negotiated),
        (
            json!({"protocol": "HTTPS", "sendProxyProtocol": "V2"}),
            EndpointProtocol::Http1,
        ),
        (json!({"protocol": "GRPC"}), EndpointProtocol::Http2),
        (json!({"protocol": "TCP"}), EndpointProtocol::Bytes),
    ] {
        let mut scene = Scene::new(json!({}));
        let mut spec = fields.clone();
        spec["static"] = json!([{"address": "10.0.0.1", "port": 1}]);
        spec["tls"] = json!({"serverName": "web.test"});
        scene.objects.backends = vec![be("web", spec)];
        let plan = scene.with(&[]);
        let own = &plan.snapshot.backends[0];
        assert_eq!(own.protocol, protocol, "{fields}");
        assert!(matches!(own.tls, UpstreamTls::Spoken(_)), "{fields}");
    }
}
