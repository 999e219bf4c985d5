//! What the demo found: the comparison of the two runs as a table, as JSON, and as an exit code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use super::kubelet::Ending;
use super::scene::Played;

/// The middle and the end of a distribution, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are not larger.
    pub p50: Option<f64>,
    /// 99 of 100 are not larger.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl Spread {
    /// Of these values, in any order; nearest rank, so that each is a value that was measured.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied()
        };
        Self {
            p50: rank(50),
            p99: rank(99),
            max: values.last().copied(),
        }
    }
}

/// One server that left.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// The server.
    pub endpoint: String,
    /// `scaleIn` or `rollingUpdate`.
    pub scene: &'static str,
    /// In flight at the hook's call, by the server's own record.
    pub in_flight_at_hook: u64,
    /// In flight at SIGTERM, by the server's own record.
    pub in_flight_at_sigterm: u64,
    /// From the hook's call to its end.
    #[serde(rename = "drainMillis")]
    pub held_millis: f64,
    /// From the last response's last byte, by the server's own record, to the hook's end.
    pub release_millis: Option<f64>,
    /// From the last request's end to the release, by lastcall's own clock.
    pub since_last_byte_millis: Option<f64>,
    /// `Drained`, `Deadline` or `Cut`.
    pub cause: Option<String>,
    /// Requests that lastcall cut.
    pub cut: u64,
    /// SIGKILL was needed.
    pub killed: bool,
}

impl Drain {
    fn of(ending: &Ending, scene: &'static str) -> Self {
        Self {
            endpoint: ending.name.clone(),
            scene,
            in_flight_at_hook: ending.in_flight_at_hook,
            in_flight_at_sigterm: ending.in_flight_at_sigterm,
            held_millis: millis(ending.held),
            release_millis: ending.release_millis,
            since_last_byte_millis: ending.hook.since_last_byte_millis,
            cause: ending.hook.cause.clone(),
            cut: ending.hook.cut,
            killed: ending.killed,
        }
    }

    fn drained(&self) -> bool {
        self.cause.as_deref() == Some("Drained")
    }
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Requests of the plan; each has an outcome.
    pub requests: u64,
    /// Requests that failed, whatever the way.
    pub failed: u64,
    /// The failed by their way: `reset`, `short`, `status503`…
    pub failures: BTreeMap<String, u64>,
    /// Requests that lastcall cut.
    pub cut: u64,
    /// In flight at SIGTERM, by the servers' own records, all servers together.
    pub in_flight_at_sigterm: u64,
    /// From the last response's last byte to the hook's end, over the servers that drained.
    pub release_millis: Spread,
    /// From the last request's end to the release by lastcall's own clock, over the servers that drained.
    pub since_last_byte_millis: Spread,
    /// From when a request was to start to its end, over those that did not fail.
    pub latency_millis: Spread,
    /// The servers that left, in order.
    pub drains: Vec<Drain>,
}

impl RunReport {
    /// Sums a run up.
    pub fn of(played: &Played) -> Self {
        let drains: Vec<Drain> = played
            .scale_in
            .iter()
            .map(|ending| Drain::of(ending, "scaleIn"))
            .chain(
                played
                    .rollout
                    .iter()
                    .map(|ending| Drain::of(ending, "rollingUpdate")),
            )
            .collect();
        let mut failures = BTreeMap::new();
        for failure in played.outcomes.iter().filter_map(|outcome| outcome.failure) {
            *failures.entry(failure.name()).or_insert(0) += 1;
        }
        let drained = |value: fn(&Drain) -> Option<f64>| {
            Spread::of(
                drains
                    .iter()
                    .filter(|drain| drain.drained())
                    .filter_map(value)
                    .collect(),
            )
        };
        Self {
            requests: played.outcomes.len() as u64,
            failed: failures.values().sum(),
            failures,
            cut: drains.iter().map(|drain| drain.cut).sum(),
            in_flight_at_sigterm: drains.iter().map(|drain| drain.in_flight_at_sigterm).sum(),
            release_millis: drained(|drain| drain.release_millis),
            since_last_byte_millis: drained(|drain| drain.since_last_byte_millis),
            latency_millis: Spread::of(
                played
                    .outcomes
                    .iter()
                    .filter(|outcome| outcome.failure.is_none())
                    .map(|outcome| millis(outcome.latency))
                    .collect(),
            ),
            drains,
        }
    }
}

fn millis(duration: Duration) -> f64 {
    // Whole microseconds: more digits would only be noise in the JSON.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The comparison, and the flags it was made with.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `connectionDraining.enabled: false`.
    pub without_draining: RunReport,
    /// `connectionDraining.enabled: true`; nothing else differs.
    pub with_draining: RunReport,
    /// `--seconds`.
    pub seconds: u64,
    /// `--backends`.
    pub backends: usize,
    /// `--rate`.
    pub rate: u32,
    /// `--seed`.
    pub seed: u64,
}

/// What the demo has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was lost with draining, and something without.
    Shown,
    /// Requests were lost although draining was on.
    Lost,
    /// Nothing was lost without draining either: this run says nothing about draining.
    NothingToLose,
}

impl Report {
    /// What the numbers say.
    pub fn verdict(&self) -> Verdict {
        if self.with_draining.failed > 0 || self.with_draining.in_flight_at_sigterm > 0 {
            Verdict::Lost
        } else if self.without_draining.failed == 0 {
            Verdict::NothingToLose
        } else {
            Verdict::Shown
        }
    }

    /// The table that people read.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<34}{:>18}{:>18}\n",
            "", "without draining", "with draining"
        );
        let mut line = |name: &str, value: &dyn Fn(&RunReport) -> String| {
            let (left, right) = (value(&self.without_draining), value(&self.with_draining));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<34}{left:>18}{right:>18}");
        };
        line("requests", &|run| run.requests.to_string());
        line("failed", &|run| run.failed.to_string());
        for kind in self.kinds() {
            line(&format!("  {kind}"), &|run| {
                run.failures
                    .get(kind)
                    .copied()
                    .unwrap_or_default()
                    .to_string()
            });
        }
        line("cut by lastcall", &|run| run.cut.to_string());
        line("in flight at SIGTERM", &|run| {
            run.in_flight_at_sigterm.to_string()
        });
        line("last byte to release, p50", &|run| {
            ms(run.release_millis.p50)
        });
        line("last byte to release, max", &|run| {
            ms(run.release_millis.max)
        });
        line("  by lastcall's clock, max", &|run| {
            ms(run.since_last_byte_millis.max)
        });
        line("latency of the answered, p50", &|run| {
            ms(run.latency_millis.p50)
        });
        line("latency of the answered, p99", &|run| {
            ms(run.latency_millis.p99)
        });
        text.push_str("\ntime from hook to release (in flight at the hook -> at SIGTERM)\n");
        for (left, right) in self
            .without_draining
            .drains
            .iter()
            .zip(&self.with_draining.drains)
        {
            let name = format!("  {} ({})", left.endpoint, words(left.scene));
            let _ = writeln!(text, "{name:<30}{:>22}{:>18}", drain(left), drain(right));
        }
        if self.verdict() == Verdict::Shown {
            let _ = writeln!(
                text,
                "\nWith draining no request was lost; without it {} of the same {} were.",
                self.without_draining.failed, self.with_draining.requests
            );
        }
        text
    }

    /// An error that says what was not shown.
    pub fn check(&self) -> anyhow::Result<()> {
        let with = &self.with_draining;
        match self.verdict() {
            Verdict::Shown => Ok(()),
            Verdict::Lost => bail!(
                "with draining {} requests failed, and {} were in flight at a SIGTERM",
                with.failed,
                with.in_flight_at_sigterm
            ),
            Verdict::NothingToLose => bail!(
                "no request was lost without draining either, so this run says nothing about draining"
            ),
        }
    }

    fn kinds(&self) -> impl Iterator<Item = &String> {
        let both = [&self.without_draining, &self.with_draining];
        let kinds: std::collections::BTreeSet<_> = both
            .into_iter()
            .flat_map(|run| run.failures.keys())
            .collect();
        kinds.into_iter()
    }
}

fn words(scene: &str) -> &str {
    match scene {
        "scaleIn" => "scale-in",
        _ => "rolling update",
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} ms"))
}

fn drain(drain: &Drain) -> String {
    format!(
        "{:.2} s ({} -> {})",
        drain.held_millis / 1e3,
        drain.in_flight_at_hook,
        drain.in_flight_at_sigterm
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(failed: u64, in_flight_at_sigterm: u64) -> RunReport {
        RunReport {
            requests: 100,
            failed,
            failures: (failed > 0)
                .then(|| ("reset".to_owned(), failed))
                .into_iter()
                .collect(),
            cut: 0,
            in_flight_at_sigterm,
            release_millis: Spread::of(vec![1.0, 2.0]),
            since_last_byte_millis: Spread::default(),
            latency_millis: Spread::of(vec![5.0]),
            drains: Vec::new(),
        }
    }

    fn report(without_draining: RunReport, with_draining: RunReport) -> Report {
        Report {
            without_draining,
            with_draining,
            seconds: 30,
            backends: 4,
            rate: 150,
            seed: 1,
        }
    }

    #[test]
    fn only_losses_without_and_none_with_draining_show_something() {
        for (without, with, verdict) in [
            (run(50, 0), run(0, 0), Verdict::Shown),
            (run(50, 0), run(1, 0), Verdict::Lost),
            (run(0, 0), run(1, 0), Verdict::Lost),
            (run(50, 0), run(0, 1), Verdict::Lost),
            (run(0, 0), run(0, 0), Verdict::NothingToLose),
        ] {
            let report = report(without, with);
            assert_eq!(report.verdict(), verdict);
            assert_eq!(report.check().is_ok(), verdict == Verdict::Shown);
        }
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[]), Spread::default());
        let one = of(&[3.0]);
        assert_eq!(
            (one.p50, one.p99, one.max),
            (Some(3.0), Some(3.0), Some(3.0))
        );
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let spread = Spread::of(hundred);
        assert_eq!(
            (spread.p50, spread.p99, spread.max),
            (Some(50.0), Some(99.0), Some(100.0))
        );
    }

    #[test]
    fn the_json_has_the_documented_names() {
        let json = serde_json::to_value(report(run(50, 2), run(0, 0))).unwrap();
        assert_eq!(json["withoutDraining"]["failed"], 50);
        assert_eq!(json["withoutDraining"]["failures"]["reset"], 50);
        assert_eq!(json["withoutDraining"]["inFlightAtSigterm"], 2);
        assert_eq!(json["withDraining"]["requests"], 100);
        assert_eq!(json["withDraining"]["cut"], 0);
        assert_eq!(json["withDraining"]["releaseMillis"]["p50"], 1.0);
        assert_eq!(json["withDraining"]["releaseMillis"]["max"], 2.0);
    }

    #[test]
    fn the_table_names_the_kinds_of_failure_and_concludes() {
        let table = report(run(50, 2), run(0, 0)).table();
        let line = |start: &str| {
            let found = table.lines().find(|line| line.starts_with(start));
            found
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("failed"), "failed 50 0");
        assert_eq!(line("  reset"), "reset 50 0");
        assert!(
            table.ends_with("without it 50 of the same 100 were.\n"),
            "{table}"
        );
    }
}
