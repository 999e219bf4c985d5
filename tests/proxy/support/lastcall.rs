//! The real `lastcall standalone` as a child process, ended by its own pid.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::client::get;
use super::config::{Config, Folder, free_port};
use super::wait::wait_until;

/// How long a start or an exit may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A running lastcall. It gets SIGKILL when dropped; its log is printed then if the test is failing.
#[derive(Debug)]
pub struct Lastcall {
    /// The one listener of its configuration.
    pub address: SocketAddr,
    /// The port of metrics and health.
    pub metrics: SocketAddr,
    /// The folder with its configuration, admin socket and log.
    pub folder: Folder,
    config: Config,
    child: Child,
}

impl Lastcall {
    /// Starts lastcall and waits until `/readyz` says so.
    pub fn start(config: Config) -> Self {
        let mut started = Self::spawn(config);
        started.wait_until_ready();
        started
    }

    /// Starts lastcall and does not wait.
    pub fn spawn(config: Config) -> Self {
        let folder = Folder::new();
        config.write_into(&folder);
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let child = run(&folder, metrics, &config);
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, config.port)),
            metrics,
            folder,
            config,
            child,
        }
    }

    /// Ends it with SIGKILL; [`Lastcall::start_again`] brings it back.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, after its end, with the same folder, ports and admin socket.
    pub fn start_again(&mut self) {
        self.child = run(&self.folder, self.metrics, &self.config);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        wait_until("lastcall to be ready", LIMIT, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("lastcall ended ({status}):\n{}", self.log());
            }
            match get(self.metrics, "/readyz") {
                Ok(answer) if answer.status() == 200 => Ok(()),
                other => Err(other),
            }
        });
    }

    /// The configuration as it is, to be changed and given to [`Lastcall::reload`].
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// Writes another configuration into the folder; lastcall watches it. Says nothing about when it counts:
    /// wait for what should be different.
    pub fn reload(&mut self, config: Config) {
        config.write_into(&self.folder);
        self.config = config;
    }

    /// The folder that it follows.
    pub fn configuration(&self) -> PathBuf {
        self.folder.config()
    }

    /// Its admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has written these words: a thread of its own writes the log.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        wait_until(words, LIMIT, || {
            let log = self.log();
            log.contains(words).then_some(()).ok_or(log)
        });
    }

    /// The text of `/metrics`.
    pub fn scrape(&self) -> String {
        get(self.metrics, "/metrics").unwrap().body_text()
    }

    /// The value of one sample of `/metrics`, by its whole name with labels.
    pub fn metric(&self, sample: &str) -> Option<f64> {
        self.scrape()
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
    }

    /// Waits until a sample of `/metrics` has this value.
    #[track_caller]
    pub fn wait_for_metric(&self, sample: &str, value: f64) {
        wait_until(&format!("{sample} {value}"), LIMIT, || {
            match self.metric(sample) {
                Some(seen) if (seen - value).abs() < 1e-9 => Ok(()),
                seen => Err(seen),
            }
        });
    }

    /// Requests that lastcall counts as in flight on an endpoint of `web`.
    pub fn in_flight(&self, endpoint: SocketAddr) -> Option<f64> {
        self.metric(&in_flight_of(endpoint))
    }

    /// Waits until lastcall counts so many in flight on an endpoint of `web`.
    #[track_caller]
    pub fn wait_for_in_flight(&self, endpoint: SocketAddr, count: u32) {
        self.wait_for_metric(&in_flight_of(endpoint), f64::from(count));
    }

    /// As [`Lastcall::metric`], for a sample that counts, or a gauge of whole things.
    pub fn count(&self, sample: &str) -> Option<u64> {
        self.scrape()
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
    }

    /// Resident memory in bytes (`VmRSS`).
    pub fn memory(&self) -> u64 {
        self.kibibytes("VmRSS:") * 1024
    }

    /// The most that was ever resident, in bytes (`VmHWM`).
    pub fn peak_memory(&self) -> u64 {
        self.kibibytes("VmHWM:") * 1024
    }

    /// What of the program itself is resident, in bytes (`RssFile`). Without optimisation it is several times that of
    /// what is shipped.
    pub fn program_memory(&self) -> u64 {
        self.kibibytes("RssFile:") * 1024
    }

    fn kibibytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Runs a subcommand of the CLI against this lastcall, to its end.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lastcall"))
            .args(arguments)
            .arg("--admin-socket")
            .arg(self.admin_socket())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Starts a preStop hook for one endpoint of `web`: the code of `lastcall-hold` as a child process.
    pub fn hold(&self, endpoint: SocketAddr, grace: Duration) -> Hook {
        let child = Command::new(env!("CARGO_BIN_EXE_lastcall"))
            .arg("demo-hook")
            .arg("--admin-socket")
            .arg(self.admin_socket())
            .arg("--grace-seconds")
            .arg(grace.as_secs_f64().to_string())
            .arg(format!("be/web/{endpoint}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Hook { child }
    }

    /// Sends a signal to it, and to nobody else.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_until("lastcall to end", LIMIT, || {
            child.try_wait().unwrap().ok_or("it runs")
        })
    }
}

fn in_flight_of(endpoint: SocketAddr) -> String {
    format!(
        "lastcall_endpoint_in_flight{{namespace=\"default\",backend=\"web\",endpoint=\"{endpoint}\"}}"
    )
}

fn run(folder: &Folder, metrics: SocketAddr, config: &Config) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("log"))
        .unwrap();
    let workers = config
        .flags()
        .iter()
        .any(|flag| flag.starts_with("--workers="));
    Command::new(env!("CARGO_BIN_EXE_lastcall"))
        .arg("standalone")
        .arg("--config")
        .arg(folder.config())
        .args(["--listen-address", "127.0.0.1"])
        .args((!workers).then_some("--workers=2"))
        .arg("--admin-socket")
        .arg(folder.path().join("admin.sock"))
        .arg("--metrics-address")
        .arg(metrics.to_string())
        .args(config.flags())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Lastcall {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of lastcall ---\n{}---", self.log());
        }
    }
}

/// A hook that waits to be released.
#[derive(Debug)]
pub struct Hook {
    child: Child,
}

impl Hook {
    /// Whether it still waits.
    pub fn is_waiting(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end and returns its exit code and the JSON that it printed.
    pub fn released(mut self, limit: Duration) -> (i32, serde_json::Value) {
        let status = wait_until("the hook to end", limit, || {
            self.child.try_wait().unwrap().ok_or("it waits")
        });
        let output = self.child.stdout.take().unwrap();
        let said = std::io::read_to_string(output).unwrap();
        let json = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("the hook said {said:?}: {error}"));
        (status.code().unwrap_or(-1), json)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
