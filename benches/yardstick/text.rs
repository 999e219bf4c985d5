//! The report for people: `benches/report.md`, and what a run prints at its end.

use std::fmt::{self, Write};

use crate::report::{IdleRow, Report, Row, WorkRow};
use crate::work::{self, HTTP1_IDLE, TLS_IDLE, WORKS};

const INTRODUCTION: &str = "\
One worker each. The proxy has one CPU to itself; load generator and backend share another and are the same for \
all. Everyone has its turn in every round, started afresh; figures are medians of the rounds, in parentheses the \
lowest and the highest. CPU time is the process's own, from /proc/PID/stat, at full load; in the column *lastcall \
against it* lastcall's is divided by the other's of the same round. Requests a second are what the generator's CPU \
or the proxy's gave, and say little. p50, p99 and p99.9 are at half of that rate, held whatever the answers do \
(open loop), from the moment when an exchange was due; on two shared CPUs they prove little.

All send the backend the fields that lastcall does (X-Forwarded-For, -Proto, -Host, X-Real-IP, Forwarded, \
X-Request-Id, Via), and keep connections to it. `-bare` sends X-Forwarded-For only. `floor-h2` and `floor-hyper` \
are proxies of a hundred lines around a library, without routes, gates and counters ([floor](floor)).
";

/// The whole of it.
pub fn report(report: &Report) -> Result<String, fmt::Error> {
    let mut out = String::from("# What a request costs\n\n");
    writeln!(out, "Written by `make bench`. {}.\n", report.machine)?;
    for (name, version) in &report.versions {
        writeln!(out, "- {name}: {version}")?;
    }
    writeln!(out, "\n{INTRODUCTION}")?;
    out += &measured(report)?;
    Ok(out)
}

/// The figures alone.
pub fn measured(report: &Report) -> Result<String, fmt::Error> {
    let mut out = String::new();
    for work in WORKS {
        works(&mut out, report, work)?;
    }
    for (name, about) in [
        (HTTP1_IDLE, "Keep-alive connections of HTTP/1.1"),
        (TLS_IDLE, "The same in TLS 1.3"),
    ] {
        idle(&mut out, report, name, about)?;
    }
    figures(&mut out, report)?;
    if !report.left_out.is_empty() {
        writeln!(out, "## Left out\n")?;
        for one in &report.left_out {
            writeln!(out, "- {}, {}: {}", one.work, one.proxy, one.why)?;
        }
    }
    Ok(out.trim_end().to_owned() + "\n")
}

fn works(out: &mut String, report: &Report, work: &work::Work) -> fmt::Result {
    let rows = report.rows.iter().filter_map(|row| match row {
        Row::Work(row) if row.work == work.name => Some(row),
        _ => None,
    });
    let mut rows = rows.peekable();
    let Some(first) = rows.peek() else {
        return Ok(());
    };
    writeln!(
        out,
        "## {}\n\n{}. {} rounds.\n",
        work.name, work.about, first.rounds
    )?;
    *out += "| proxy | CPU µs | user | system | lastcall against it | a second | p50 ms | p99 ms | p99.9 ms | RSS MiB |\n\
             |---|---|---|---|---|---|---|---|---|---|\n";
    for row in rows {
        line(out, row)?;
    }
    writeln!(out)
}

fn line(out: &mut String, row: &WorkRow) -> fmt::Result {
    let against = row
        .lastcall_against
        .map_or_else(String::new, |[low, middle, high]| {
            format!("{middle:.2} ({low:.2}–{high:.2})")
        });
    let [low, high] = row.spread;
    writeln!(
        out,
        "| {} | {:.2} ({low:.2}–{high:.2}) | {:.2} | {:.2} | {against} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} |",
        row.proxy,
        row.cpu_micros_per_request,
        row.user_micros,
        row.system_micros,
        row.requests_per_second,
        row.p50_millis,
        row.p99_millis,
        row.p999_millis,
        row.rss_mib,
    )
}

fn idle(out: &mut String, report: &Report, name: &str, about: &str) -> fmt::Result {
    let rows: Vec<&IdleRow> = report
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Idle(row) if row.work == name => Some(row),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## {name}\n\n{about} that made one request each and fell silent: resident memory of the process (what \
         the kernel keeps for sockets is not in it).\n\n| proxy | connections | RSS MiB | KiB a connection |\n\
         |---|---|---|---|"
    )?;
    for row in rows {
        let each = row
            .kib_per_connection
            .map_or_else(String::new, |kib| format!("{kib:.2}"));
        writeln!(
            out,
            "| {} | {} | {:.1} | {each} |",
            row.proxy, row.connections, row.rss_mib
        )?;
    }
    writeln!(out)
}

fn figures(out: &mut String, report: &Report) -> fmt::Result {
    if let Some(skew) = &report.skew {
        writeln!(
            out,
            "## skew\n\n{} connections over {} workers of lastcall by SO_REUSEPORT, {} times: the busiest has {:.3} \
             times the mean (worst {:.3}), standard deviation {:.1} connections. The kernel chooses by a hash, so \
             chance alone gives {:.1}.\n",
            skew.connections,
            skew.workers,
            skew.runs,
            skew.median_max_over_mean,
            skew.worst_max_over_mean,
            skew.standard_deviation,
            by_chance(skew.connections, skew.workers),
        )?;
    }
    if let Some(costs) = &report.costs {
        let small = report.rows.iter().find_map(|row| match row {
            Row::Work(row) if row.work == "http1-small" && row.proxy == "lastcall" => Some(row),
            _ => None,
        });
        let share = |nanos: f64| {
            small.map_or_else(String::new, |row| {
                format!(
                    " ({:.2} % of http1-small)",
                    nanos / row.cpu_micros_per_request / 10.0
                )
            })
        };
        writeln!(
            out,
            "## costs\n\nOf what lastcall alone does, measured by itself with warm caches, as the difference \
             between a loop with it and one without: to count a request into an endpoint's gate and out of it \
             {:.1} ns{}; to count it for the metrics {:.1} ns{}.\n",
            costs.gate_nanos,
            share(costs.gate_nanos),
            costs.metrics_nanos,
            share(costs.metrics_nanos),
        )?;
    }
    Ok(())
}

/// Standard deviation of a binomial distribution.
#[allow(clippy::cast_precision_loss)] // A thousand.
fn by_chance(connections: usize, workers: usize) -> f64 {
    let share = 1.0 / workers as f64;
    (connections as f64 * share * (1.0 - share)).sqrt()
}
