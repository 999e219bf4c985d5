//! The log: one event a line on stderr, its fields beside it. Written by a thread of its own: a reader
//! that has stopped reading must hold up neither a request nor a release.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::cli::standalone::LogFormat;

/// Starts the log. `level` is a level or a list of `module=level`. What is not written yet is written when
/// the guard is dropped; where nobody reads, the newest lines are lost.
pub(super) fn init(format: LogFormat, level: &str) -> anyhow::Result<WorkerGuard> {
    let filter = EnvFilter::try_new(quiet(level)).with_context(|| {
        format!("--log-level {level:?}: write error, warn, info, debug, trace, or module=level")
    })?;
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(guard)
}

/// Where nobody asks for it, `rustls` says nothing below an error: it warns of what clients do wrong in their
/// handshakes, and whoever connects could fill the log. Handshakes that fail are counted.
fn quiet(level: &str) -> String {
    if level.contains("rustls") {
        level.to_owned()
    } else {
        format!("{level},rustls=error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustls_is_heard_where_it_is_asked_for() {
        assert_eq!(quiet("info"), "info,rustls=error");
        assert_eq!(quiet("warn,rustls=trace"), "warn,rustls=trace");
        for level in ["info", "debug", "info,lastcall::drain=debug"] {
            EnvFilter::try_new(quiet(level)).unwrap();
        }
        assert!(EnvFilter::try_new(quiet("loud=quiet")).is_err());
    }
}
