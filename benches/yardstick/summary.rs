//! The few lines of the report that stand in README, between two marks, so that README shows the last run.

use std::fmt::{self, Write};

use anyhow::Context;

use crate::peers;
use crate::report::{IdleRow, Report, Row, WorkRow};
use crate::work::WORKS;

const BEGIN: &str = "<!-- Written by make bench -->\n";
const END: &str = "<!-- The end of what make bench writes -->\n";

/// README with the summary in place of the last one.
pub fn renew(readme: &str, report: &Report) -> anyhow::Result<String> {
    let marks = "README has lost a mark of what make bench writes";
    let (before, rest) = readme.split_once(BEGIN).context(marks)?;
    let (_, after) = rest.split_once(END).context(marks)?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", summary(report)?))
}

fn summary(report: &Report) -> Result<String, fmt::Error> {
    let whole = peers::ALL.iter().filter(|proxy| proxy.is_whole());
    let names: Vec<&str> = whole.map(|proxy| proxy.name()).collect();
    let mut out = String::new();
    writeln!(out, "| CPU µs for one | {} |", names.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(names.len() + 1))?;
    for work in WORKS {
        let cells: Vec<String> = names
            .iter()
            .map(|name| cell(report, work.name, name))
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            writeln!(out, "| {} | {} |", work.name, cells.join(" | "))?;
        }
    }
    writeln!(
        out,
        "\nIn parentheses: lastcall's over theirs, the median of the rounds. With `X-Forwarded-For` only (`-bare`), \
         and a library alone (`floor-`): {}. {}.",
        others(report, &names).join("; "),
        report.machine
    )?;
    if let Some(memory) = memory(report, &names) {
        writeln!(out, "{memory}")?;
    }
    if let Some(costs) = &report.costs {
        writeln!(
            out,
            "Of lastcall's CPU time, counting a request in and out of an endpoint takes {:.1} ns, and counting it for \
             the metrics {:.1} ns.",
            costs.gate_nanos, costs.metrics_nanos
        )?;
    }
    Ok(out)
}

fn work_row<'a>(report: &'a Report, work: &str, proxy: &str) -> Option<&'a WorkRow> {
    report.rows.iter().find_map(|row| match row {
        Row::Work(row) if row.work == work && row.proxy == proxy => Some(row),
        _ => None,
    })
}

fn cell(report: &Report, work: &str, proxy: &str) -> String {
    work_row(report, work, proxy).map_or_else(String::new, figure)
}

fn figure(row: &WorkRow) -> String {
    let micros = row.cpu_micros_per_request;
    match row.lastcall_against {
        Some([_, middle, _]) => format!("{micros:.1} ({middle:.2})"),
        None => format!("{micros:.1}"),
    }
}

/// The bare ones and the floors, which are for one kind of work each.
fn others(report: &Report, names: &[&str]) -> Vec<String> {
    let rows = report.rows.iter().filter_map(|row| match row {
        Row::Work(row) if !names.contains(&row.proxy.as_str()) => Some(row),
        _ => None,
    });
    rows.map(|row| format!("{} at {} {}", row.proxy, row.work, figure(row)))
        .collect()
}

/// What the most idle connections add.
fn memory(report: &Report, names: &[&str]) -> Option<String> {
    let rows: Vec<&IdleRow> = report
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Idle(row) => Some(row),
            Row::Work(_) => None,
        })
        .collect();
    let most = rows.iter().map(|row| row.connections).max()?;
    let each = names.iter().filter_map(|name| {
        let of = |work: &str| {
            let found = rows
                .iter()
                .find(|row| row.proxy == **name && row.work == work && row.connections == most);
            found.and_then(|row| row.kib_per_connection)
        };
        let clear = of(crate::work::HTTP1_IDLE)?;
        let tls = of(crate::work::TLS_IDLE);
        let tls = tls.map_or_else(String::new, |kib| format!(", {kib:.1} in TLS"));
        Some(format!("{name} {clear:.1}{tls}"))
    });
    let each: Vec<String> = each.collect();
    Some(format!(
        "KiB for an idle connection, of {most}: {}.",
        each.join("; ")
    ))
}
