//! A folder of YAML as a user would write it: one listener, a default Backend, and whatever a test adds.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A port that was free a moment ago, on 127.0.0.1. Not one that the kernel gives out: the client of another
/// test might get it before lastcall does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = 10_000..32_000;
    loop {
        let nth = std::process::id()
            .wrapping_mul(97)
            .wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst));
        let port = ports.start + u16::try_from(nth % u32::from(ports.end - ports.start)).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The objects of a folder. Fields that a test cares for are given as YAML, as a user would.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port of the one listener.
    pub port: u16,
    listener: String,
    secrets: Vec<(String, String)>,
    load_balancer: Vec<String>,
    backends: Vec<(String, Vec<String>, Vec<String>)>,
    flags: Vec<String>,
}

impl Config {
    /// A `LoadBalancer` called `test` whose `defaultBackend` is `web`, with these static endpoints.
    pub fn new(endpoints: &[SocketAddr]) -> Self {
        let mut config = Self {
            port: free_port(),
            listener: "protocol: HTTP".to_owned(),
            secrets: Vec::new(),
            load_balancer: vec!["defaultBackend: {name: web}".to_owned()],
            backends: Vec::new(),
            flags: Vec::new(),
        };
        config.set_endpoints("web", endpoints);
        config
    }

    /// Gives the one listener other fields, as flow YAML without braces: `protocol: TCP, proxyProtocol: true`.
    pub fn listener(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.listener);
        self
    }

    /// For TCP: the listener's protocol, and that of `web`.
    pub fn tcp(self) -> Self {
        self.listener("protocol: TCP")
            .backend("web", "protocol: TCP")
    }

    /// Adds a line (or lines) of YAML to the `LoadBalancer`'s spec:
    /// `connectionDraining: {enabled: false}`. In place of an earlier line for the same field.
    pub fn load_balancer(mut self, yaml: &str) -> Self {
        replace(&mut self.load_balancer, yaml);
        self
    }

    /// Adds a file of a Secret, such as `shop/tls.crt`, or gives one another content.
    pub fn secret(mut self, file: &str, content: &str) -> Self {
        self.secrets.retain(|(known, _)| known != file);
        self.secrets.push((file.to_owned(), content.to_owned()));
        self
    }

    /// Writes all of it into a folder, the Secrets first.
    pub fn write_into(&self, folder: &Folder) {
        for (file, content) in &self.secrets {
            folder.write(file, content);
        }
        folder.write("test.yaml", &self.yaml());
    }

    /// Without `defaultBackend`: only routes lead anywhere.
    pub fn without_default_backend(mut self) -> Self {
        self.load_balancer
            .retain(|line| !line.starts_with("defaultBackend:"));
        self
    }

    /// Adds a line of YAML to a Backend's spec: `balance: {policy: LeastRequest}`.
    pub fn backend(mut self, name: &str, yaml: &str) -> Self {
        let index = self.index(name);
        replace(&mut self.backends[index].2, yaml);
        self
    }

    /// Takes a field out of a Backend's spec.
    pub fn without(mut self, name: &str, field: &str) -> Self {
        let index = self.index(name);
        let lines = &mut self.backends[index].2;
        lines.retain(|line| line.split(':').next() != Some(field));
        self
    }

    /// Adds another Backend, or gives one other endpoints.
    pub fn endpoints(mut self, backend: &str, endpoints: &[SocketAddr]) -> Self {
        self.set_endpoints(backend, endpoints);
        self
    }

    /// Adds a flag of `lastcall standalone`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Gives a Backend other endpoints.
    pub fn set_endpoints(&mut self, backend: &str, endpoints: &[SocketAddr]) {
        let index = self.index(backend);
        self.backends[index].1 = endpoints
            .iter()
            .map(|endpoint| {
                format!(
                    "{{address: \"{}\", port: {}}}",
                    endpoint.ip(),
                    endpoint.port()
                )
            })
            .collect();
    }

    /// Gives a Backend other endpoints, each with fields of its own as flow YAML without braces:
    /// `address: 127.0.0.1, port: 81, adminState: Draining`.
    pub fn set_endpoints_as(&mut self, backend: &str, endpoints: &[&str]) {
        let index = self.index(backend);
        self.backends[index].1 = endpoints.iter().map(|one| format!("{{{one}}}")).collect();
    }

    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.backends.iter().position(|known| known.0 == name) {
            return index;
        }
        self.backends
            .push((name.to_owned(), Vec::new(), Vec::new()));
        self.backends.len() - 1
    }

    /// The flags to start with.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The folder's one file.
    pub fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: lastcall.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {{name: test}}\nspec:\n  \
             listeners: [{{name: http, port: {}, {}}}]\n",
            self.port, self.listener
        );
        indent(&mut text, &self.load_balancer);
        for (name, endpoints, lines) in &self.backends {
            write!(
                text,
                "---\napiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\nspec:\n"
            )
            .unwrap();
            if endpoints.is_empty() {
                text.push_str("  static: []\n");
            } else {
                text.push_str("  static:\n");
            }
            for endpoint in endpoints {
                writeln!(text, "  - {endpoint}").unwrap();
            }
            indent(&mut text, lines);
        }
        text
    }
}

fn replace(lines: &mut Vec<String>, yaml: &str) {
    let field = yaml.split(':').next().unwrap_or_default();
    lines.retain(|line| line.split(':').next() != Some(field));
    lines.push(yaml.to_owned());
}

fn indent(text: &mut String, blocks: &[String]) {
    for line in blocks.iter().flat_map(|block| block.lines()) {
        writeln!(text, "  {line}").unwrap();
    }
}

/// A folder on disk that holds a configuration, next to lastcall's socket and log.
#[derive(Debug)]
pub struct Folder {
    root: TempDir,
}

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("lastcall-test-")
            .tempdir()
            .unwrap();
        std::fs::create_dir(root.path().join("config")).unwrap();
        Self { root }
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// What `--config` names.
    pub fn config(&self) -> PathBuf {
        self.root.path().join("config")
    }

    /// Writes a file of the configuration in one step, so that nobody reads half of it.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.root.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::create_dir_all(self.config().join(name).parent().unwrap()).unwrap();
        std::fs::rename(new, self.config().join(name)).unwrap();
    }
}
