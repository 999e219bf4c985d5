//! Collects the records of the apps' pods: each writes its own to this process, so that it is here when the pod is gone.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::own_address;
use crate::support::record::{Event, Hello, Summary, What};

/// One process of an app, from its start on.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// The name of its pod.
    pub pod: String,
    /// The UID of its pod.
    pub uid: String,
    /// What it did.
    pub events: Vec<Event>,
    /// Whether it has ended.
    pub over: bool,
}

impl Life {
    /// What its record says in all.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for event in &self.events {
            summary.take(event);
        }
        summary
    }

    /// When SIGTERM came, microseconds of the monotonic clock.
    pub fn sigterm(&self) -> Option<u64> {
        self.summary().sigterm
    }

    /// When requests began, microseconds of the monotonic clock.
    pub fn begins(&self) -> impl Iterator<Item = u64> + '_ {
        self.events
            .iter()
            .filter(|event| event.what == What::Begin)
            .map(|event| event.at)
    }
}

/// A place for the records of one app.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    lives: Arc<Mutex<Vec<Life>>>,
}

impl Collector {
    /// Begins to collect.
    pub fn start() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let lives: Arc<Mutex<Vec<Life>>> = Arc::default();
        let kept = Arc::clone(&lives);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let lives = Arc::clone(&kept);
                std::thread::spawn(move || follow(stream, &lives));
            }
        });
        Self { address, lives }
    }

    /// What an app is given as `--record`.
    pub fn place(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// All that was collected so far.
    pub fn lives(&self) -> Vec<Life> {
        lock(&self.lives).clone()
    }
}

fn lock(lives: &Mutex<Vec<Life>>) -> MutexGuard<'_, Vec<Life>> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one record to its end. Its connection is closed only then: the app waits for that.
fn follow(stream: TcpStream, lives: &Mutex<Vec<Life>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else {
        return;
    };
    let Hello { name } = serde_json::from_str(&first).unwrap();
    let (pod, uid) = name.split_once('/').unwrap_or((&name, ""));
    let nth = {
        let mut lives = lock(lives);
        lives.push(Life {
            pod: pod.to_owned(),
            uid: uid.to_owned(),
            ..Life::default()
        });
        lives.len() - 1
    };
    for line in lines.by_ref() {
        let event = serde_json::from_str(&line).unwrap();
        lock(lives)[nth].events.push(event);
    }
    lock(lives)[nth].over = true;
}

/// The test of the tests: a pod that nobody holds, and its record when it is gone.
#[test]
fn a_record_is_here_when_its_pod_is_gone() {
    use crate::app::App;
    use crate::cluster::{LIMIT, Namespace, wait_until};
    use crate::installation::Installed;
    use crate::objects::{Wanted, deployment};

    let image = Installed::image_only();
    let labels = ["pod-security.kubernetes.io/enforce=restricted"];
    let app = App::prepare(&image, Namespace::new("record", &labels));
    let wanted = Wanted {
        replicas: 1,
        pod_labels: "lastcall.dev/drain: disabled".to_owned(),
        ..Wanted::default()
    };
    app.space
        .apply(&app.with_made(|made| deployment(&wanted, made)));
    app.rolled_out();
    let pod = app.staying().remove(0);
    app.space
        .kubectl(&["scale", "deployment/app", "--replicas=0"]);
    let life = wait_until("the end of the record", LIMIT, || {
        let lives = app.collector.lives();
        lives.iter().find(|life| life.over).cloned().ok_or(lives)
    });
    assert_eq!((life.pod.as_str(), life.uid.len()), (pod.as_str(), 36));
    assert_eq!(life.summary().in_flight_at_sigterm, Some(0));
}
