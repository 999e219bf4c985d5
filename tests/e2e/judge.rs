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
                cut: number(&line, "cut"),
                held: Duration::from_millis(number(&line, "held_ms")),
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

/// A number of a line; a line that has none where it shall have one is a fault.
fn number(line: &Value, field: &str) -> u64 {
    let found = line[field].as_u64();
    found.unwrap_or_else(|| panic!("{field} is no number: {line}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::record::{Event, What};
    use serde_json::json;

    fn event(at: u64, what: What, in_flight: u64) -> Event {
        Event {
            at,
            what,
            id: None,
            in_flight,
        }
    }

    fn life(events: Vec<Event>) -> Life {
        Life {
            pod: "web-0".to_owned(),
            uid: "u".to_owned(),
            events,
            over: true,
        }
    }

    /// A line of lastcall's log, so many microseconds of the monotonic clock after its beginning.
    fn line(at: u64, message: &str, cut: u64) -> Value {
        let time = MicroTime(
            k8s_openapi::jiff::Timestamp::from_microsecond(
                i64::try_from(clocks_lead() + at).unwrap(),
            )
            .unwrap(),
        );
        json!({"timestamp": time, "message": message, "key": "u", "held_ms": 7, "cut": cut})
    }

    #[test]
    fn a_life_is_clean_only_where_all_is_as_it_shall_be() {
        use What::{Begin, End, Sigterm};
        const MS: u64 = 1_000;
        let good = || {
            vec![
                event(10 * MS, Begin, 1),
                event(20 * MS, End, 0),
                event(90 * MS, Sigterm, 0),
            ]
        };
        let late = vec![
            event(60 * MS, Begin, 1),
            event(61 * MS, End, 0),
            event(90 * MS, Sigterm, 0),
        ];
        let in_flight = vec![event(10 * MS, Begin, 1), event(90 * MS, Sigterm, 1)];
        let released = || vec![line(30 * MS, "released", 0)];
        let cases = [
            (good(), released(), None),
            (good(), vec![], Some("without a release")),
            (
                good(),
                vec![line(30 * MS, "hold started", 0)],
                Some("without a release"),
            ),
            (
                good(),
                vec![line(30 * MS, "released at the deadline", 0)],
                Some("deadline"),
            ),
            (good(), vec![line(30 * MS, "released", 2)], Some("cut: 2")),
            (
                good(),
                vec![line(200 * MS, "released", 0)],
                Some("before the release"),
            ),
            (late, released(), Some("1 requests begun after the release")),
            (in_flight, released(), Some("in flight at SIGTERM: Some(1)")),
            (
                vec![event(10 * MS, Begin, 1)],
                vec![],
                Some("ended without SIGTERM"),
            ),
        ];
        for (events, log, expected) in cases {
            let judge = Judge::new(vec![life(events)], log);
            let faults = judge.faults(&judge.lives[0]);
            match expected {
                None => assert!(faults.is_empty(), "{faults:?}"),
                Some(part) => assert!(faults.concat().contains(part), "{part}: {faults:?}"),
            }
        }
    }
}
