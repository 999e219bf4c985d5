//! The cluster: kubectl as users have it, a namespace for each test, and waiting.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{attempt, run};
use crate::support::wait::wait_until_by_looks;

/// How long to pause between two looks: a look is a kubectl.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the cluster may take for what it does by itself.
pub const LIMIT: Duration = Duration::from_mins(2);

/// Asks `look` until it returns `Ok`, and returns that; fails after `limit` with what was seen last.
#[track_caller]
pub fn wait_until<T, E: Debug>(
    what: &str,
    limit: Duration,
    look: impl FnMut() -> Result<T, E>,
) -> T {
    wait_until_by_looks(PAUSE, what, limit, look)
}

/// Fails where no cluster is named.
#[track_caller]
pub fn required() {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG names no cluster: run `make e2e`, or with a cluster that is up\n    \
         tests/cluster/enter cargo test --test e2e"
    );
}

/// An object as kubectl prints it, or why there is none.
pub fn object(namespace: &str, what: &[&str]) -> Result<Value, String> {
    let mut arguments = vec!["--namespace", namespace, "get", "-o", "json"];
    arguments.extend(what);
    let text = attempt("kubectl", &arguments, "")?;
    serde_json::from_str(&text).map_err(|error| format!("kubectl get {what:?}: {error}"))
}

/// The items of a list of objects.
#[track_caller]
pub fn objects(namespace: &str, what: &[&str]) -> Vec<Value> {
    let list = object(namespace, what).unwrap_or_else(|error| panic!("{error}"));
    list["items"].as_array().cloned().unwrap_or_default()
}

/// The address at which pods reach this process: the one from which this machine speaks to a node.
pub fn own_address() -> IpAddr {
    if let Ok(address) = std::env::var("LASTCALL_E2E_ADDRESS") {
        return address
            .parse()
            .expect("LASTCALL_E2E_ADDRESS is an IP address");
    }
    let path = r#"-ojsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}"#;
    let node: IpAddr = run("kubectl", &["get", "nodes", path]).parse().unwrap();
    let socket = UdpSocket::bind(SocketAddr::new([0, 0, 0, 0].into(), 0)).unwrap();
    // Nothing is sent: the kernel only chooses a route.
    socket.connect((node, 9)).unwrap();
    socket.local_addr().unwrap().ip()
}

/// A namespace of a test's own. It is taken away with the value; where the test has failed, what is in it is told before.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// Makes one, with these labels (`KEY=VALUE`).
    #[track_caller]
    pub fn new(purpose: &str, labels: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{purpose}-{}-{number}", std::process::id());
        // In one go: `PodSecurity` decides by the API server's cache, which may lag behind a label that comes later.
        let labels = labels
            .iter()
            .map(|label| label.split_once('=').expect("KEY=VALUE"));
        let labels: BTreeMap<_, _> = labels.collect();
        let made = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        attempt("kubectl", &["create", "-f", "-"], &made.to_string())
            .unwrap_or_else(|error| panic!("{error}"));
        let space = Self { name };
        // A pod that comes before the account is refused, and some controllers wait long before the next attempt.
        wait_until("the namespace's account", LIMIT, || {
            object(&space.name, &["serviceaccount", "default"])
        });
        space
    }

    /// kubectl in this namespace, which has to succeed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.attempt(arguments, "")
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// kubectl in this namespace.
    pub fn attempt(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut all = vec!["--namespace", self.name.as_str()];
        all.extend(arguments);
        attempt("kubectl", &all, input)
    }

    /// `kubectl apply -f -`.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        self.attempt(&["apply", "-f", "-"], yaml)
            .unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    }

    /// The pods of a label selector, those that are ending among them.
    #[track_caller]
    pub fn pods(&self, selector: &str) -> Vec<Value> {
        objects(&self.name, &["pods", "--selector", selector])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in [
                vec!["get", "pods,services,loadbalancers,backends", "-o", "wide"],
                vec!["get", "events", "--sort-by=.metadata.creationTimestamp"],
            ] {
                eprintln!("{}", self.attempt(&what, "").unwrap_or_else(|error| error));
            }
        }
        let _ = attempt(
            "kubectl",
            &["delete", "namespace", &self.name, "--wait=false"],
            "",
        );
    }
}

/// A string in an object, empty where it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}
