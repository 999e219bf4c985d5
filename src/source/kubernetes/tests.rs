//! What is kept of objects that a real API server, kubelet and controllers wrote (`captured/`), and what is
//! published of what the watches say.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kept::Change;
use super::view::Urgency;
use super::*;
use crate::api;
use crate::api::protection::NotProtected;
use crate::model::ObjectName;
use crate::plan::cluster::{Family, Pod, Readiness};

fn captured(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn captured_pod() -> Value {
    captured(include_str!("captured/pod.json"))
}

#[test]
fn of_a_pod_is_kept_what_endpoints_and_holds_are_made_of() {
    let pod = trim::pod(read(&captured_pod()));
    assert_eq!(pod.name.to_string(), "kube-system/coredns-778f98f9cc-b525n");
    assert_eq!(&*pod.uid, "3fe38561-f331-443e-9a31-34652783a078");
    assert_eq!(pod.labels.get("k8s-app"), Some("kube-dns"));
    assert_eq!(pod.labels.iter().count(), 2);
    assert_eq!(
        pod.addresses[..],
        ["10.244.0.2".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(pod.ready && !pod.over && pod.deletion.is_none());
    assert_eq!(pod.grace.as_secs(), 30);
    assert_eq!(pod.node.as_deref(), Some("node0"));
    let no_hook = NotProtected::NoHook {
        container: "coredns".to_owned(),
    };
    assert_eq!(*pod.gaps, [no_hook]);
    let ports: Vec<_> = pod.ports.iter().map(|p| (&*p.name, p.port)).collect();
    assert_eq!(ports, [("dns-tcp", 53)], "UDP is not for us");
    let containers: Vec<_> = pod
        .containers
        .iter()
        .map(|c| (&*c.name, c.restarts, c.ready))
        .collect();
    assert_eq!(containers, [("coredns", 0, true)]);
}

#[test]
fn what_a_pods_object_says_of_its_end_is_kept() {
    let of = |change: &dyn Fn(&mut Value)| {
        let mut pod = captured_pod();
        change(&mut pod);
        trim::pod(read(&pod))
    };
    let deleted = of(&|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-21T19:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(7);
        pod["metadata"]["annotations"] = json!({
            "lastcall.dev/admin-state": "Draining",
            "lastcall.dev/original-grace-seconds": "5",
        });
    });
    let seconds = |duration: Option<Duration>| duration.map(|d| d.as_secs());
    assert_eq!(seconds(deleted.deletion), Some(7));
    assert_eq!(seconds(deleted.original_grace), Some(5));
    assert_eq!(deleted.admin_state.as_deref(), Some("Draining"));
    // A deletion that says no grace has what the spec grants.
    let unsaid = of(&|pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-21T19:00:00Z");
        pod["spec"]["terminationGracePeriodSeconds"] = json!(330);
    });
    assert_eq!(seconds(unsaid.deletion), Some(330));
    for phase in ["Succeeded", "Failed"] {
        assert!(of(&|pod| pod["status"]["phase"] = json!(phase)).over);
    }
    let restarted = of(&|pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(3);
        pod["status"]["containerStatuses"][0]["ready"] = json!(false);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    });
    let container = &restarted.containers[0];
    assert_eq!((container.restarts, container.ready), (3, false));
    assert!(!restarted.ready);
}

#[test]
fn services_and_slices_keep_their_tcp_ports_and_conditions() {
    let service = trim::service(read(&captured(include_str!("captured/service.json"))));
    let ports: Vec<_> = service.ports.iter().map(|p| (&*p.name, p.port)).collect();
    assert_eq!(ports, [("dns-tcp", 53)]);
    assert_eq!(service.families[..], [Family::V4]);
    assert!(!service.external);

    let mut object = captured(include_str!("captured/slice.json"));
    let slice = trim::slice(read(&object));
    assert_eq!(&*slice.service, "kube-dns");
    let ports: Vec<_> = slice.ports.iter().map(|p| (&*p.name, p.port)).collect();
    assert_eq!(ports, [("dns-tcp", 53)]);
    let endpoint = &slice.endpoints[0];
    let conditions = (endpoint.ready, endpoint.serving, endpoint.terminating);
    assert_eq!(conditions, (Some(true), Some(true), Some(false)));
    let pod = endpoint.pod.as_ref().unwrap();
    assert_eq!(pod.name, trim::pod(read(&captured_pod())).name);
    assert_eq!(pod.uid, Some(trim::pod(read(&captured_pod())).uid));

    object["endpoints"] = json!([
        {"addresses": ["10.0.0.9"], "conditions": {}},
        {"addresses": ["10.0.0.8"], "conditions": {}, "targetRef": {"kind": "VirtualMachine", "name": "v"}},
        {"addresses": ["example.com"], "conditions": {}},
    ]);
    let slice = trim::slice(read(&object));
    assert_eq!(slice.endpoints.len(), 2, "a name is no address");
    assert!(
        slice
            .endpoints
            .iter()
            .all(|e| e.pod.is_none() && e.ready.is_none())
    );
}

#[test]
fn a_node_says_whether_it_is_ready_and_whether_it_is_being_shut_down() {
    let node = |status: &str, message: &str| {
        let mut node = captured(include_str!("captured/node.json"));
        let conditions = node["status"]["conditions"].as_array_mut().unwrap();
        let ready = conditions
            .iter_mut()
            .find(|c| c["type"] == "Ready")
            .unwrap();
        ready["status"] = json!(status);
        ready["message"] = json!(message);
        let node = trim::node(&read(&node));
        (node.ready, node.shutting_down)
    };
    assert_eq!(
        node("True", "kubelet is posting ready status"),
        (Readiness::Ready, false)
    );
    assert_eq!(
        node("False", "node is shutting down"),
        (Readiness::NotReady, true)
    );
    assert_eq!(
        node("False", "PLEG is not healthy"),
        (Readiness::NotReady, false)
    );
    assert_eq!(
        node("Unknown", "Kubelet stopped posting node status."),
        (Readiness::Unknown, false)
    );
    let silent = trim::node(&k8s_openapi::api::core::v1::Node::default());
    assert_eq!(silent.ready, Readiness::Unknown);
}

#[test]
fn of_our_own_objects_status_and_the_metadata_of_others_are_not_kept() {
    let object = json!({
        "apiVersion": api::API_VERSION,
        "kind": "Backend",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "generation": 4,
            "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "17",
            "labels": {"a": "b"}, "annotations": {"c": "d"}, "managedFields": [],
        },
        "spec": {"static": []},
        "status": {"total": "of another version"},
    });
    let backend = trim::backend(read(&object));
    let kept = serde_json::to_value(&backend).unwrap();
    let metadata = json!({
        "name": "web", "namespace": "shop", "uid": "u", "generation": 4,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    assert_eq!(
        (&kept["metadata"], &kept["status"]),
        (&metadata, &Value::Null)
    );
}

/// The goal: below 1 KiB a pod, with the labels that charts give it, two containers and two addresses.
#[test]
fn a_pod_is_kept_in_less_than_a_kibibyte() {
    let mut object = captured_pod();
    object["metadata"]["labels"] = json!({
        "app.kubernetes.io/name": "checkout-service",
        "app.kubernetes.io/instance": "checkout-production",
        "app.kubernetes.io/version": "2026.11.3",
        "app.kubernetes.io/component": "backend",
        "app.kubernetes.io/part-of": "shop",
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "checkout-service-1.14.2",
        "pod-template-hash": "778f98f9cc",
    });
    object["spec"]["containers"] = json!([
        {"name": "checkout-service", "ports": [
            {"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}]},
        {"name": "proxy", "ports": [{"name": "http-proxy", "containerPort": 15001}]},
    ]);
    object["status"]["podIPs"] = json!([{"ip": "10.244.0.2"}, {"ip": "fd00:10:244::2"}]);
    let mut kept = None;
    let counted = allocation_counter::measure(|| {
        kept = Some(Arc::new(trim::pod(read(&object))));
    });
    drop(kept);
    let bytes = counted.bytes_current;
    let whole = serde_json::to_string(&object).unwrap().len();
    println!("a pod is kept in {bytes} bytes, of {whole} as JSON");
    assert!((100..1024).contains(&bytes), "{bytes} bytes");
}

/// A source whose watches say what the test says, and all that it publishes.
struct Played {
    source: Kubernetes,
    say: mpsc::UnboundedSender<Seen>,
    gone: mpsc::UnboundedReceiver<Gone>,
}

fn play(scopes: usize) -> Played {
    let (say, mut heard) = mpsc::unbounded_channel();
    let steps = futures_util::stream::poll_fn(move |cx| heard.poll_recv(cx));
    let mut all = SelectAll::new();
    all.push(steps.boxed());
    let (source, gone) = Kubernetes::follow(View::new(scopes), all);
    Played { source, say, gone }
}

/// An empty listing of every kind.
fn empty_listings(scopes: usize) -> Vec<Seen> {
    let mut all = vec![Seen::Node(Change::Complete)];
    for scope in 0..scopes {
        all.extend([
            Seen::LoadBalancer(scope, Change::Complete),
            Seen::Backend(scope, Change::Complete),
            Seen::Service(scope, Change::Complete),
            Seen::Slice(scope, Change::Complete),
            Seen::Pod(scope, Change::Complete),
            Seen::Secret(scope, Change::Complete),
        ]);
    }
    all
}

impl Played {
    fn say(&self, seen: Seen) {
        self.say.send(seen).unwrap();
    }

    /// Lets everything that is under way come to rest, without time passing.
    async fn rest(&self) {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    async fn hear_of_a_pod_that_went(&mut self) -> Gone {
        let waiting = self.gone.recv();
        let told = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        told.expect("told").expect("the source lives")
    }

    fn revision(&self) -> u64 {
        let observed = self.source.observed();
        let now = observed.borrow();
        now.as_ref().map_or(0, |observed| observed.revision)
    }
}

fn a_pod(uid: &str) -> Pod {
    Pod {
        name: ObjectName::new("shop", "web-0"),
        uid: uid.into(),
        ..trim::pod(read(&captured_pod()))
    }
}

fn put(pod: Pod) -> Seen {
    Seen::Pod(0, Change::Put(pod.name.clone(), Ok(pod)))
}

async fn change(observed: &mut watch::Receiver<Option<Arc<Observed>>>) {
    let told = tokio::time::timeout(Duration::from_mins(1), observed.changed()).await;
    told.expect("published").expect("the source lives");
}

/// Law 3.
#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_every_kind_was_listed_everywhere() {
    let played = play(2);
    let mut left = empty_listings(2);
    played.rest().await;
    assert_eq!(played.source.missing().len(), 7);
    let last = left.pop().unwrap();
    for seen in left {
        played.say(seen);
        played.rest().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(played.revision(), 0);
    }
    assert_eq!(played.source.missing(), ["Secret"]);
    played.say(last);
    let first = played.source.first().await;
    assert_eq!(first.revision, 1);
    assert!(played.source.missing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_published_at_once_and_a_pod_that_went_is_told_after() {
    let mut played = play(1);
    for seen in empty_listings(1) {
        played.say(seen);
    }
    played.source.first().await;
    let start = Instant::now();
    let waited = || start.elapsed().as_millis();
    let mut observed = played.source.observed();
    observed.mark_unchanged();

    played.say(put(a_pod("u1")));
    change(&mut observed).await;
    assert!((10..=12).contains(&waited()), "{}", waited());
    // It says the same: nobody is woken.
    played.say(put(a_pod("u1")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(played.revision(), 2);

    let start = Instant::now();
    played.say(put(Pod {
        deletion: Some(Duration::from_secs(30)),
        ..a_pod("u1")
    }));
    change(&mut observed).await;
    observed.mark_unchanged();
    assert!(start.elapsed().as_millis() <= 3);
    assert!(played.gone.try_recv().is_err());

    // Another has come under its name, as a StatefulSet's does.
    played.say(put(a_pod("u2")));
    let gone = played.hear_of_a_pod_that_went().await;
    assert_eq!((&*gone.uid, gone.revision), ("u1", 4));
    let now = observed.borrow_and_update().clone().unwrap();
    assert_eq!(now.revision, 4);
    assert!(now.cluster.pods.values().all(|pod| &*pod.uid == "u2"));

    // It went while the watch was away: the next listing is without it.
    played.say(Seen::Pod(0, Change::Began));
    played.say(Seen::Pod(0, Change::Complete));
    let gone = played.hear_of_a_pod_that_went().await;
    assert_eq!((&*gone.uid, gone.revision), ("u2", 5));
}

/// Law 4.
#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_reported_and_keeps_its_last_good_content() {
    let played = play(1);
    for seen in empty_listings(1) {
        played.say(seen);
    }
    played.source.first().await;
    let name = ObjectName::new("shop", "web");
    let good: api::Backend = read(&json!({
        "apiVersion": api::API_VERSION, "kind": "Backend",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"static": []},
    }));
    let mut observed = played.source.observed();
    played.say(Seen::Backend(
        0,
        Change::Put(name.clone(), Ok(good.clone())),
    ));
    let wanted = |o: &Option<Arc<Observed>>| !o.as_ref().unwrap().objects.backends.is_empty();
    let before = observed.wait_for(wanted).await.unwrap().clone().unwrap();
    played.say(Seen::Backend(
        0,
        Change::Put(name, Err("no such policy".to_owned())),
    ));
    let wanted = |o: &Option<Arc<Observed>>| !o.as_ref().unwrap().faults.is_empty();
    let after = observed.wait_for(wanted).await.unwrap().clone().unwrap();
    assert_eq!(after.objects.backends, [good]);
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!(
        after.faults[0].to_string(),
        "Backend shop/web: no such policy"
    );
    // What does not change is the same value.
    played.say(put(a_pod("u1")));
    let wanted = |o: &Option<Arc<Observed>>| !o.as_ref().unwrap().cluster.pods.is_empty();
    let later = observed.wait_for(wanted).await.unwrap().clone().unwrap();
    assert!(Arc::ptr_eq(&after.objects, &later.objects));
}

#[test]
fn each_scope_is_listed_by_itself() {
    let mut view = View::new(2);
    let of = |namespace: &str| {
        let name = ObjectName::new(namespace, "web-0");
        let pod = Pod {
            name: name.clone(),
            uid: namespace.into(),
            ..a_pod("")
        };
        Change::Put(name, Ok(pod))
    };
    assert_eq!(view.take(Seen::Pod(0, of("a"))), Urgency::Soon);
    assert_eq!(view.take(Seen::Pod(1, of("b"))), Urgency::Soon);
    view.take(Seen::Pod(0, Change::Began));
    assert_eq!(view.take(Seen::Pod(0, Change::Complete)), Urgency::Now);
    assert_eq!(view.take_gone(), ["a".into()]);
    let pods: Vec<String> = view
        .observe(1)
        .cluster
        .pods
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(pods, ["b/web-0"]);
}

/// Law 3: nor does a watch hang on it, which would go on with what was known for ever.
#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_without_a_word_fails() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = client(config).unwrap();
    let mute =
        tokio::spawn(async move { (listener.accept().await, std::future::pending::<()>().await) });
    let request = client.apiserver_version();
    let outcome = tokio::time::timeout(Duration::from_mins(5), request).await;
    assert!(outcome.expect("it ends by itself").is_err());
    mute.abort();
}
