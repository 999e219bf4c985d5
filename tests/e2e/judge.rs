//! The verdict over an app's pods: their own records beside lastcall's log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use crate::collector::Life;
use crate::support::record::now_micros;

/// A release that lastcall has logged.
#[derive(Clone, Debug)]
pub struct Release {
    /// When, microseconds of the monotonic clock.
    pub at: u64,
    /// `released`, or how it was otherwise.
    pub message: String,
    /// Requests that were cut for it.
    pub cut: u64,
    /// How long the hold was.
    pub held: Duration,
}

/// What the app's records and lastcall's log say.
#[derive(Debug)]
pub struct Judge {
    /// Every process of the app.
    pub lives: Vec<Life>,
    /// The first release of each pod, by its UID.
    pub releases: BTreeMap<String, Release>,
}

impl Judge {
    /// Reads lastcall's log.
    pub fn new(lives: Vec<Life>, log: Vec<Value>) -> Self {
        let lead = clocks_lead();
        let mut releases = BTreeMap::new();
        for line in log {
            let message = line["message"].as_str().unwrap_or_default();
            let (Some(key), true) = (line["key"].as_str(), message.starts_with("released")) else {
                continue;
            };
            let release = Release {
                at: micros(&line["timestamp"]).saturating_sub(lead),
                message: message.to_owned(),
                cut: line["cut"].as_u64().unwrap_or_default(),
                held: Duration::from_millis(line["held_ms"].as_u64().unwrap_or_default()),
            };
            releases.entry(key.to_owned()).or_insert(release);
        }
        Self { lives, releases }
    }

    /// The processes that got SIGTERM.
    pub fn stopped(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter().filter(|life| life.sigterm().is_some())
    }

    /// The release of a process' pod.
    pub fn release(&self, life: &Life) -> Option<&Release> {
        self.releases.get(&life.uid)
    }

    /// Fails unless just so many processes were stopped, each by SIGTERM, after a release because it was drained, with
    /// nothing in flight and nothing begun since its release.
    #[track_caller]
    pub fn clean(&self, stops: usize) {
        let mut wrong = Vec::new();
        for life in &self.lives {
            wrong.extend(self.faults(life));
        }
        assert!(
            wrong.is_empty(),
            "{} pods:\n{}",
            self.lives.len(),
            wrong.join("\n")
        );
        let stopped = self.stopped().count();
        assert_eq!(stopped, stops, "pods that were stopped");
    }

    /// What was not as it shall be in one process' life.
    pub fn faults(&self, life: &Life) -> Vec<String> {
        let summary = life.summary();
        let Some(sigterm) = summary.sigterm else {
            let killed = life
                .over
                .then(|| format!("{}: ended without SIGTERM", life.pod));
            return killed.into_iter().collect();
        };
        let mut faults = Vec::new();
        let mut fault = |what: String| faults.push(format!("{}: {what}", life.pod));
        if summary.in_flight_at_sigterm != Some(0) {
            fault(format!(
                "in flight at SIGTERM: {:?}",
                summary.in_flight_at_sigterm
            ));
        }
        match self.release(life) {
            None => fault("stopped without a release".to_owned()),
            Some(release) => {
                if release.message != "released" || release.cut > 0 {
                    fault(format!("{release:?}"));
                }
                let late = life.begins().filter(|at| *at > release.at).count();
                if late > 0 {
                    fault(format!("{late} requests begun after the release"));
                }
                if sigterm < release.at {
                    fault(format!(
                        "SIGTERM {} µs before the release",
                        release.at - sigterm
                    ));
                }
            }
        }
        faults
    }
}

/// How far the wall clock is ahead of the monotonic one, microseconds: both are the machine's.
fn clocks_lead() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(wall.as_micros()).unwrap() - now_micros()
}

/// Microseconds since 1970 of a time in a log line.
fn micros(time: &Value) -> u64 {
    let time: MicroTime = serde_json::from_value(time.clone()).unwrap();
    u64::try_from(time.0.as_microsecond()).unwrap()
}
