//! A kube-apiserver and its etcd, for as long as a test wants them. Tests that run at the same time share one;
//! each works in a namespace of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than this nothing here takes.
pub const PATIENCE: Duration = Duration::from_mins(1);
const TOKEN: &str = "the-tests-own";

/// The one that runs, if any.
static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// A kube-apiserver that serves, with `crds/` applied.
pub struct Server {
    folder: TempDir,
    binaries: Binaries,
    etcd_port: u16,
    port: u16,
    /// The kube-apiserver; none while it is killed.
    front: Mutex<Option<Process>>,
    _etcd: Process,
    /// Held for writing by a test that takes the server away from the others.
    pub peace: RwLock<()>,
}

impl Server {
    /// The one that runs, or a new one.
    pub fn shared() -> Arc<Self> {
        // A test that failed while it started one leaves nothing half done here.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = running.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *running = Arc::downgrade(&server);
        server
    }

    fn start() -> Self {
        let binaries = Binaries::find();
        let folder = tempfile::tempdir().unwrap();
        let [etcd_port, peer_port, port] = free_ports();
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let etcd = Process::start(
            &binaries.etcd,
            &folder.path().join("etcd.log"),
            &[
                format!("--data-dir={}", folder.path().join("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster=default={peer_url}"),
                "--unsafe-no-fsync".to_owned(),
            ],
        );
        let key = rcgen::KeyPair::generate().unwrap();
        for (name, text) in [
            ("accounts.key", key.serialize_pem()),
            ("accounts.pub", key.public_key_pem()),
            (
                "tokens",
                format!("{TOKEN},admin,admin,\"system:masters\"\n"),
            ),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let server = Self {
            folder,
            binaries,
            etcd_port,
            port,
            front: Mutex::new(None),
            _etcd: etcd,
            peace: RwLock::new(()),
        };
        server.start_api_server();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(server.apply_crds());
        server
    }

    /// Starts the kube-apiserver and waits until it serves.
    pub fn start_api_server(&self) {
        let folder = self.folder.path();
        let file = |name: &str| folder.join(name).display().to_string();
        let process = Process::start(
            &self.binaries.kube_apiserver,
            &folder.join("kube-apiserver.log"),
            &[
                format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={}", self.port),
                format!("--cert-dir={}", file("certificates")),
                format!("--token-auth-file={}", file("tokens")),
                "--authorization-mode=RBAC".to_owned(),
                // Nobody makes the accounts that it would ask for.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", file("accounts.pub")),
                format!(
                    "--service-account-signing-key-file={}",
                    file("accounts.key")
                ),
            ],
        );
        *self.front.lock().unwrap() = Some(process);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let last = match self.try_config().await {
                    Ok(config) => {
                        let namespaces: Api<Namespace> =
                            Api::all(Client::try_from(config).unwrap());
                        match namespaces.get("default").await {
                            Ok(_) => return,
                            Err(error) => error.to_string(),
                        }
                    }
                    Err(error) => error.to_string(),
                };
                assert!(
                    Instant::now() < deadline,
                    "kube-apiserver does not serve: {last}\n{}",
                    self.end_of_log()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// Ends the kube-apiserver as a crash would.
    pub fn kill_api_server(&self) {
        let process = self.front.lock().unwrap().take();
        process.expect("it runs").kill();
    }

    async fn apply_crds(&self) {
        for file in ["backends.yaml", "loadbalancers.yaml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("crds")
                .join(file);
            let text = fs::read_to_string(path).unwrap();
            let crd: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
            self.apply_crd(&crd).await;
        }
    }

    /// Applies a CRD and waits until its objects can be written.
    pub async fn apply_crd(&self, crd: &CustomResourceDefinition) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client().await);
        let name = crd.metadata.name.as_deref().unwrap();
        let params = PatchParams::apply("tests").force();
        crds.patch(name, &params, &Patch::Apply(crd)).await.unwrap();
        let established = kube::runtime::conditions::is_crd_established();
        let waiting = kube::runtime::wait::await_condition(crds, name, established);
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("established in time")
            .unwrap();
    }

    /// A client made as lastcall makes its own.
    pub async fn client(&self) -> Client {
        lastcall::source::kubernetes::client(self.config().await).unwrap()
    }

    pub async fn config(&self) -> Config {
        self.try_config().await.unwrap()
    }

    async fn try_config(&self) -> Result<Config, kube::config::KubeconfigError> {
        let authority = self.folder.path().join("certificates/apiserver.crt");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: t, \
             contexts: [{{name: t, context: {{cluster: t, user: t}}}}], \
             clusters: [{{name: t, cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: '{}'}}}}], \
             users: [{{name: t, user: {{token: {TOKEN}}}}}]}}",
            self.port,
            authority.display()
        );
        let read = Kubeconfig::from_yaml(&text)?;
        Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("kube-apiserver.log"));
        let text = log.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Where the two programs are.
struct Binaries {
    etcd: PathBuf,
    kube_apiserver: PathBuf,
}

impl Binaries {
    /// `KUBEBUILDER_ASSETS`, or what `tests/cluster/build` built and Debian's etcd.
    fn find() -> Self {
        if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let folder = PathBuf::from(folder);
            let found = Self {
                etcd: folder.join("etcd"),
                kube_apiserver: folder.join("kube-apiserver"),
            };
            for path in [&found.etcd, &found.kube_apiserver] {
                assert!(
                    path.is_file(),
                    "KUBEBUILDER_ASSETS is set, but there is no {}",
                    path.display()
                );
            }
            return found;
        }
        let how = "get both with: tests/install.sh cluster && tests/cluster/build\n\
                   or set KUBEBUILDER_ASSETS to a folder that has etcd and kube-apiserver";
        let kube_apiserver = Self::built();
        assert!(
            kube_apiserver.is_file(),
            "kube-apiserver is not built ({}); {how}",
            kube_apiserver.display()
        );
        let path = std::env::var_os("PATH").unwrap_or_default();
        let etcd = std::env::split_paths(&path)
            .map(|p| p.join("etcd"))
            .find(|p| p.is_file());
        Self {
            etcd: etcd.unwrap_or_else(|| panic!("there is no etcd on the PATH; {how}")),
            kube_apiserver,
        }
    }

    /// The cache folder is named after what it is built from, which only the scripts know.
    fn built() -> PathBuf {
        let places = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/places.sh");
        let output = Command::new("bash")
            .args(["-c", "set -e; . \"$1\"; bin", "bash"])
            .arg(places)
            .output();
        let folder = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
        PathBuf::from(folder.unwrap_or_default()).join("kube-apiserver")
    }
}

/// A process that does not outlive this one, however this one ends: a shell beside it waits for the end of a
/// pipe and kills it.
struct Process {
    shell: Child,
    pid: Pid,
}

impl Process {
    fn start(program: &Path, log: &Path, arguments: &[String]) -> Self {
        const SCRIPT: &str = r#"log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!; read -r _; kill -9 $!; wait"#;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(log)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = shell.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        Self {
            shell,
            pid: pid.expect("the shell says its number"),
        }
    }

    fn kill(self) {
        // It has not been waited for: the shell still reads, so the number is its own.
        kill_process(self.pid, Signal::KILL).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Ports that nobody has now.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
