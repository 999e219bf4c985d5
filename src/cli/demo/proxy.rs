//! One lastcall as a child process, with its folder of YAML: started, given its endpoints, asked to hold.
//! Used by [`super::scene`], once for each of the two runs.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::kubelet::child;

/// The Backend's name in the folder.
pub const BACKEND: &str = "web";
/// Its folder of YAML. What holds this folder is watched too, so nothing else is written there: not the
/// servers' records, which grow with every request.
const CONFIG: &str = "lastcall/config";
/// How long lastcall may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(15);

/// What the one difference between the two runs is, and what is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// `connectionDraining.enabled`: the one difference.
    pub enabled: bool,
    /// `connectionDraining.timeoutSeconds`.
    pub timeout_seconds: u64,
}

/// A running lastcall.
#[derive(Debug)]
pub struct Proxy {
    /// Where it takes requests.
    pub listen: SocketAddr,
    draining: Draining,
    folder: PathBuf,
    child: Child,
    metrics: SocketAddr,
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The folder's one file: a `LoadBalancer` and a Backend with these endpoints.
pub fn configuration(port: u16, draining: Draining, endpoints: &[SocketAddr]) -> String {
    let Draining {
        enabled,
        timeout_seconds,
    } = draining;
    let mut text = format!(
        "apiVersion: lastcall.dev/v1alpha1\n\
         kind: LoadBalancer\n\
         metadata: {{name: demo}}\n\
         spec:\n\
         \x20 listeners: [{{name: http, port: {port}, protocol: HTTP}}]\n\
         \x20 defaultBackend: {{name: {BACKEND}}}\n\
         \x20 connectionDraining: {{enabled: {enabled}, timeoutSeconds: {timeout_seconds}}}\n\
         ---\n\
         apiVersion: lastcall.dev/v1alpha1\n\
         kind: Backend\n\
         metadata: {{name: {BACKEND}}}\n\
         spec:\n\
         \x20 static:\n"
    );
    for endpoint in endpoints {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  - {{address: {}, port: {}}}",
            endpoint.ip(),
            endpoint.port()
        );
    }
    text
}

impl Proxy {
    /// Starts lastcall on these endpoints, with all its files in `folder`, and waits until it is ready.
    pub async fn start(
        folder: &Path,
        draining: Draining,
        endpoints: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join(CONFIG))?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        publish(folder, listen.port(), draining, endpoints)?;
        let log = std::fs::File::create(folder.join("lastcall.log"))?;
        let child = child("standalone")?
            .arg("--config")
            .arg(folder.join(CONFIG))
            .args(["--listen-address", "127.0.0.1", "--workers", "2"])
            .arg("--admin-socket")
            .arg(folder.join("admin.sock"))
            .arg("--metrics-address")
            .arg(metrics.to_string())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .context("start lastcall standalone")?;
        let mut proxy = Self {
            listen,
            draining,
            folder: folder.to_owned(),
            child,
            metrics,
        };
        proxy.ready().await?;
        Ok(proxy)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "lastcall standalone ended ({status}); it said:\n{}",
                    self.log()
                );
            }
            if is_ready(self.metrics).await {
                return Ok(());
            }
            if begin.elapsed() > READY_LIMIT {
                bail!(
                    "lastcall standalone was not ready after {READY_LIMIT:?}; it said:\n{}",
                    self.log()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What lastcall wrote.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("lastcall.log"))
            .unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }

    /// Puts these endpoints in the folder, in place of those that were there.
    pub fn publish(&self, endpoints: &[SocketAddr]) -> anyhow::Result<()> {
        publish(&self.folder, self.listen.port(), self.draining, endpoints)
    }

    /// The preStop hook of the server at that address, waiting `grace` at most.
    pub fn hook(&self, address: SocketAddr, grace: Duration) -> anyhow::Result<Command> {
        let mut hook = child("demo-hook")?;
        hook.arg("--admin-socket")
            .arg(self.folder.join("admin.sock"))
            .arg("--grace-seconds")
            .arg(grace.as_secs_f64().to_string())
            .arg(format!("be/{BACKEND}/{address}"));
        Ok(hook)
    }
}

/// Written beside the folder and moved into it, so that nobody reads half a file.
fn publish(
    folder: &Path,
    port: u16,
    draining: Draining,
    endpoints: &[SocketAddr],
) -> anyhow::Result<()> {
    let config = folder.join(CONFIG);
    let written = config.with_file_name("demo.yaml.new");
    std::fs::write(&written, configuration(port, draining, endpoints))
        .and_then(|()| std::fs::rename(&written, config.join("demo.yaml")))
        .with_context(|| format!("write the configuration in {}", folder.display()))
}

async fn is_ready(metrics: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(metrics).await?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    asked
        .await
        .is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_runs_differ_in_enabled_alone() {
        let endpoints = [
            "127.0.0.1:81".parse().unwrap(),
            "127.0.0.1:82".parse().unwrap(),
        ];
        let text = |enabled| {
            configuration(
                8080,
                Draining {
                    enabled,
                    timeout_seconds: 30,
                },
                &endpoints,
            )
        };
        assert!(text(true).contains("  - {address: 127.0.0.1, port: 82}\n"));
        assert_eq!(
            text(true).replace("enabled: true", "enabled: false"),
            text(false)
        );
        assert_ne!(text(true), text(false));
    }
}
