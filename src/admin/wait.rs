//! `GET /v1/wait`: a stream that ends when a target has reached a state.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::problem::Refusal;
use super::routes::Shared;
use super::schema::{WaitLine, WaitQuery};
use super::watched::{Seen, Watched, covers};
use super::{request, status};
use crate::drain::TargetError;
use crate::drain::ndjson::{self, Unfinished};
use crate::model::Target;
use crate::model::report::{BackendReport, EndpointReport, millis};

/// How often the number in flight is read; changes of state come at once.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn wait(
    State(parts): State<Shared>,
    query: Result<Query<WaitQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|rejection| request::query(&rejection))?;
    let target = request::target("target", &query.target, &query.namespace)?;
    let timeout = request::seconds("timeoutSeconds", query.timeout_seconds)?;
    status::configured(&parts)?;
    // Subscribed before the first look, so that no change falls between the two.
    let changes = parts.draining.changes();
    exists(&target, parts.draining.report().await?)?;
    let start = Waiting {
        watched: Watched::new(target, query.goal),
        parts,
        changes,
        look: looks(),
        heartbeat: ndjson::heartbeats(),
        begun: Instant::now(),
        timeout,
        last: None,
        over: false,
    };
    Ok(ndjson::response(lines(start)))
}

/// A target that was never there is a slip of the hand, not something to wait for.
fn exists(target: &Target, reports: Vec<BackendReport>) -> Result<(), TargetError> {
    let backend = status::find(reports, &target.backend.namespace, &target.backend.name)?;
    if target.address.is_none() || backend.endpoints.iter().any(|one| covers(target, one)) {
        return Ok(());
    }
    Err(TargetError::NoEndpoint {
        target: target.to_string(),
        known: backend
            .endpoints
            .into_iter()
            .map(|one| one.address)
            .collect(),
    })
}

fn looks() -> Interval {
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

struct Waiting {
    watched: Watched,
    parts: Shared,
    changes: watch::Receiver<u64>,
    look: Interval,
    heartbeat: Interval,
    begun: Instant,
    timeout: Option<Duration>,
    last: Option<Seen>,
    over: bool,
}

fn lines(start: Waiting) -> impl Stream<Item = Result<WaitLine, Unfinished>> + Send {
    stream::unfold(start, |mut waiting| async move {
        if waiting.over {
            return None;
        }
        let line = waiting.next().await;
        waiting.over = !matches!(
            line,
            Ok(WaitLine::Waiting { .. } | WaitLine::Heartbeat { .. })
        );
        Some((line, waiting))
    })
}

impl Waiting {
    async fn next(&mut self) -> Result<WaitLine, Unfinished> {
        loop {
            let expired = tokio::time::sleep_until(self.expires());
            tokio::select! {
                biased;
                changed = self.changes.changed() => changed.map_err(|_| Unfinished)?,
                _ = self.look.tick() => {}
                () = expired => {
                    // A last look: what was reached in the same moment is reached.
                    let seen = self.see().await?;
                    return Ok(if seen.reached { self.reached() } else { self.timed_out(&seen) });
                }
                _ = self.heartbeat.tick() => {
                    return Ok(WaitLine::Heartbeat { waited_millis: self.waited() });
                }
            }
            let seen = self.see().await?;
            // The first line is always what there is to wait for.
            if seen.reached && self.last.is_some() {
                return Ok(self.reached());
            }
            if self.last.as_ref().is_none_or(|last| differs(last, &seen)) {
                self.heartbeat.reset();
                if seen.reached {
                    self.look.reset_immediately();
                }
                let line = WaitLine::Waiting {
                    in_flight: seen.in_flight,
                    endpoints: seen.endpoints.clone(),
                };
                self.last = Some(seen);
                return Ok(line);
            }
        }
    }

    async fn see(&mut self) -> Result<Seen, Unfinished> {
        let reports = self.parts.draining.report().await;
        Ok(self.watched.see(reports.map_err(|_| Unfinished)?))
    }

    fn expires(&self) -> Instant {
        // Without a limit: longer than anybody waits.
        let limit = self.timeout.unwrap_or(Duration::from_hours(24 * 365));
        self.begun + limit
    }

    fn waited(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    fn reached(&self) -> WaitLine {
        WaitLine::Reached {
            waited_millis: self.waited(),
            cut: self.watched.cut(),
        }
    }

    fn timed_out(&self, seen: &Seen) -> WaitLine {
        WaitLine::TimedOut {
            waited_millis: self.waited(),
            in_flight: seen.in_flight,
            cut: self.watched.cut(),
        }
    }
}

/// Whether there is news for the reader; the clock alone is none.
fn differs(a: &Seen, b: &Seen) -> bool {
    fn face(one: &EndpointReport) -> impl PartialEq + '_ {
        (
            &one.address,
            one.state,
            &one.description,
            &one.reason,
            one.in_flight,
            one.cut_total,
        )
    }
    a.endpoints.len() != b.endpoints.len()
        || a.endpoints
            .iter()
            .zip(&b.endpoints)
            .any(|(a, b)| face(a) != face(b))
}
