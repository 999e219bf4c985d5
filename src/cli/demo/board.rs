//! What is known about one of the two runs while it goes on: written by [`super::scene`], turned into a
//! [`super::drawing::Frame`] by [`super::screen`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::drawing::{Lane, Phase, Row};
use super::kubelet::{Pod, Record, read};
use super::load::Live;

/// One run's state.
#[derive(Debug)]
pub struct Board {
    title: &'static str,
    /// Servers that are shown at once; those stopped longest go first.
    shown: usize,
    /// The load's numbers.
    pub live: Arc<Live>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    servers: Vec<Server>,
    scene: &'static str,
    news: Vec<String>,
}

#[derive(Debug)]
struct Server {
    name: String,
    record: Record,
    phase: Phase,
    since: Instant,
    remark: String,
}

impl Board {
    /// A run with nothing in it yet, of which `shown` servers fit on the screen.
    pub fn new(title: &'static str, shown: usize) -> Self {
        Self {
            title,
            shown,
            live: Arc::default(),
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new scene begins.
    pub fn scene(&self, scene: &'static str) {
        let mut inner = self.inner();
        inner.scene = scene;
        inner.news.push(format!("{}: {scene}", self.title));
    }

    /// A server has started.
    pub fn started(&self, pod: &Pod) {
        self.inner().servers.push(Server {
            name: pod.name.clone(),
            record: Arc::clone(&pod.record),
            phase: Phase::Starting,
            since: Instant::now(),
            remark: String::new(),
        });
    }

    /// A server is in another phase now; `remark` stands beside it.
    pub fn phase(&self, name: &str, phase: Phase, remark: String) {
        let mut inner = self.inner();
        inner
            .news
            .push(format!("{}: {name} {} {remark}", self.title, phase.word()));
        if let Some(server) = inner.servers.iter_mut().find(|server| server.name == name) {
            server.phase = phase;
            server.since = Instant::now();
            server.remark = remark;
        }
    }

    /// What happened since this was asked last, one line each.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().news)
    }

    /// What it looks like now.
    pub fn lane(&self) -> Lane {
        let inner = self.inner();
        let mut rows: Vec<Row> = inner.servers.iter().map(Server::row).collect();
        while rows.len() > self.shown
            && let Some(oldest) = rows.iter().position(|row| row.phase == Phase::Stopped)
        {
            rows.remove(oldest);
        }
        Lane {
            title: self.title,
            scene: inner.scene,
            rows,
            requests: self.live.sent(),
            failed: self.live.failed(),
        }
    }
}

impl Server {
    fn row(&self) -> Row {
        let in_flight = match self.phase {
            Phase::Stopped => 0,
            // A picture is not worth failing for; the record is read again, strictly, at the end.
            _ => read(&self.record).map_or(0, |summary| summary.in_flight),
        };
        let remark = match self.phase {
            Phase::Leaving => format!("{:.1} s", self.since.elapsed().as_secs_f64()),
            _ => self.remark.clone(),
        };
        Row {
            name: self.name.clone(),
            phase: self.phase,
            in_flight,
            remark,
        }
    }
}
