//! The three real servers. Each answers a request with `own METHOD target`, and writes `METHOD target` into its
//! record; of what it does not take for a request, `! STATUS`.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::programs::App;
use crate::support::{free_port, wait_until};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Node,
    Uvicorn,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Node, Self::Uvicorn];
}

enum Running {
    Nginx(Child),
    /// Ends when dropped.
    App(#[allow(dead_code)] App),
}

/// One that runs.
pub struct Server {
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    running: Running,
    record: PathBuf,
    _folder: TempDir,
}

impl Server {
    pub fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record");
        std::fs::write(&record, "").unwrap();
        let text = record.to_str().unwrap();
        let (address, running) = match kind {
            Kind::Nginx => nginx(&folder),
            Kind::Node => app(&["node", "recorder.cjs", text]),
            Kind::Uvicorn => app(&["venv/bin/python", "recorder.py", text]),
        };
        Self {
            kind,
            address,
            running,
            record,
            _folder: folder,
        }
    }

    /// Its record so far.
    pub fn record(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.record).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Running::Nginx(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn app(words: &[&str]) -> (SocketAddr, Running) {
    let app = App::run(words);
    (app.address, Running::App(app))
}

fn nginx(folder: &TempDir) -> (SocketAddr, Running) {
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let path = folder.path().to_str().unwrap();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("{kind}_temp_path {path}/{kind};"));
    let temporary = temporary.join(" ");
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
         events {{}}\nhttp {{ {temporary}\n\
         map $status $line {{ 200 '$request_method $request_uri'; default '! $status'; }}\n\
         log_format line '$line'; access_log {path}/record line; keepalive_requests 1000000;\n\
         server {{ listen {at}; location / {{ return 200 \"own $request_method $request_uri\"; }} }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"];
    let program = program.iter().find(|path| std::fs::exists(path).unwrap());
    let child = Command::new(program.unwrap_or(&"nginx"))
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("nginx is needed (tests/install.sh): {error}"));
    wait_until("nginx", Duration::from_secs(20), || TcpStream::connect(at));
    (at, Running::Nginx(child))
}
