//! Lastcall in the cluster, by `helm install` of the chart with the image of this very tree. Tests share it; those that
//! need it in another hook mode, or for themselves, wait for their turn.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use crate::cluster::{LIMIT, object, objects, required, text, wait_until};
use crate::command::{attempt, run, tree};

/// The release's name, and its namespace's.
pub const RELEASE: &str = "lastcall";

/// How pods are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a program in the pod.
    Exec,
    /// By the kubelet.
    HttpGet,
}

impl Mode {
    fn setting(self) -> &'static str {
        match self {
            Self::Exec => "hookMode=exec",
            Self::HttpGet => "hookMode=http-get",
        }
    }
}

/// What is installed.
#[derive(Debug)]
pub struct Installed {
    /// Lastcall's namespace.
    pub namespace: String,
    /// The image, of apps too.
    pub image: String,
}

impl Installed {
    fn of(image: &str) -> Self {
        Self {
            namespace: RELEASE.to_owned(),
            image: image.to_owned(),
        }
    }

    /// The image alone, for tests of the tests: lastcall may be there or not.
    #[track_caller]
    pub fn image_only() -> Self {
        required();
        Self::of(image())
    }

    /// The imagePullPolicy of the image.
    #[allow(clippy::unused_self)] // It is the image's.
    pub fn pull(&self) -> &'static str {
        if brought_image().is_some() {
            "IfNotPresent"
        } else {
            "Never"
        }
    }

    /// Lastcall's log, one value a line.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let selector = "--selector=app.kubernetes.io/name=lastcall";
        let namespace = &self.namespace;
        let text = run(
            "kubectl",
            &["--namespace", namespace, "logs", selector, "--tail=-1"],
        );
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Whether lastcall has logged this about a pod.
    pub fn has_logged(&self, message: &str, uid: &str) -> Result<(), String> {
        let log = self.log();
        let found = log
            .iter()
            .any(|line| line["message"] == message && line["key"] == uid);
        found
            .then_some(())
            .ok_or_else(|| format!("{} other lines", log.len()))
    }

    /// The sum of a metric over all its labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().unwrap_or_else(|error| panic!("{error}"));
        let samples = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What the one replica's metrics port says.
    fn metrics(&self) -> std::io::Result<String> {
        let pods = self.pods();
        let address = text(&pods[0], "/status/podIP");
        let mut stream = TcpStream::connect((address, 9090))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Lastcall's pods.
    #[track_caller]
    pub fn pods(&self) -> Vec<Value> {
        let selector = "--selector=app.kubernetes.io/name=lastcall";
        objects(&self.namespace, &["pods", selector])
    }
}

/// Lastcall for a test. Others share it unless it is for this test alone.
pub struct Turn {
    installed: Installed,
    broken: Cell<bool>,
}

impl Turn {
    /// Says before it happens that the test breaks what is installed: whoever comes next installs it anew.
    pub fn breaks(&self) {
        self.broken.set(true);
    }
}

impl Deref for Turn {
    type Target = Installed;

    fn deref(&self) -> &Installed {
        &self.installed
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = turns();
        turns.users -= 1;
        turns.alone = false;
        if self.broken.get() {
            turns.mode = None;
        }
        ENDED.notify_all();
    }
}

#[derive(Default)]
struct Turns {
    /// What is installed, where it is known.
    mode: Option<Mode>,
    users: usize,
    alone: bool,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns {
    mode: None,
    users: 0,
    alone: false,
});
static ENDED: Condvar = Condvar::new();

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lastcall in this mode, installed if it is not.
#[track_caller]
pub fn shared(mode: Mode) -> Turn {
    take(mode, false)
}

/// The same for one test alone: it measures, or does to lastcall and the cluster what others would feel.
#[track_caller]
pub fn alone(mode: Mode) -> Turn {
    take(mode, true)
}

#[track_caller]
fn take(mode: Mode, alone: bool) -> Turn {
    required();
    let image = image();
    let mut turns = turns();
    while turns.alone || (turns.users > 0 && (alone || turns.mode != Some(mode))) {
        turns = ENDED.wait(turns).unwrap_or_else(PoisonError::into_inner);
    }
    if turns.mode != Some(mode) {
        // Unknown until it has succeeded.
        turns.mode = None;
        install(mode, image);
    }
    turns.users += 1;
    turns.alone = alone;
    turns.mode = Some(mode);
    Turn {
        installed: Installed::of(image),
        broken: Cell::new(false),
    }
}

fn brought_image() -> Option<String> {
    std::env::var("LASTCALL_E2E_IMAGE").ok()
}

/// The image's whole name; made once.
fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        brought_image().unwrap_or_else(|| {
            // `lastcall-hold` lies beside it.
            let programs = Path::new(env!("CARGO_BIN_EXE_lastcall")).parent();
            let programs = programs.expect("a folder").display().to_string();
            let script = tree("tests/e2e/image").display().to_string();
            run(&script, &[&programs]).trim().to_owned()
        })
    })
}

/// `helm upgrade --install`, and until pods are given their hooks.
#[track_caller]
fn install(mode: Mode, image: &str) {
    if object("", &["namespace", RELEASE]).is_err() {
        run("kubectl", &["create", "namespace", RELEASE]);
    }
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    run(
        "kubectl",
        &["label", "--overwrite", "namespace", RELEASE, restricted],
    );
    // Helm installs CustomResourceDefinitions once, and never again.
    let crds = tree("crds").display().to_string();
    run(
        "kubectl",
        &["apply", "--server-side", "--force-conflicts", "-f", &crds],
    );
    let installed = Installed::of(image);
    let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
    let repository = format!("image.repository={repository}");
    let tag = format!("image.tag={tag}");
    let pull = format!("image.pullPolicy={}", installed.pull());
    let arguments = [
        "upgrade",
        "--install",
        RELEASE,
        "charts/lastcall",
        "--namespace",
        RELEASE,
        "--wait",
        "--timeout=120s",
        "--set",
        &repository,
        "--set-string",
        &tag,
        "--set",
        &pull,
        "--set",
        mode.setting(),
    ];
    if let Err(error) = attempt("helm", &arguments, "") {
        let told = explain();
        panic!("{error}\n{told}");
    }
    wait_until("one replica of lastcall", LIMIT, || {
        let pods = installed.pods();
        (pods.len() == 1).then_some(()).ok_or(pods.len())
    });
    wait_until("a hook in a pod that is made", LIMIT, || is_injected(image));
}

/// What there is to see where lastcall did not come up.
fn explain() -> String {
    let selector = "--selector=app.kubernetes.io/name=lastcall";
    let looks: [&[&str]; 3] = [
        &["describe", "pods", selector],
        &["logs", selector, "--tail=50"],
        &["logs", selector, "--tail=50", "--previous"],
    ];
    looks
        .map(|look| {
            let arguments = [&["--namespace", RELEASE], look].concat();
            attempt("kubectl", &arguments, "").unwrap_or_else(|error| error)
        })
        .join("\n")
}

/// Whether a pod that asks for it would get a hook. None is made.
pub fn is_injected(image: &str) -> Result<(), String> {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: probe, labels: {{lastcall.dev/drain: enabled}}}}\n\
         spec: {{containers: [{{name: app, image: '{image}'}}]}}\n"
    );
    let arguments = [
        "--namespace",
        "default",
        "create",
        "--dry-run=server",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let made = attempt("kubectl", &arguments, &pod)?;
    let made: Value = serde_json::from_str(&made).map_err(|error| error.to_string())?;
    match made.pointer("/spec/containers/0/lifecycle/preStop") {
        Some(_) => Ok(()),
        None => Err(format!("no preStop in {}", text(&made, "/metadata/name"))),
    }
}
