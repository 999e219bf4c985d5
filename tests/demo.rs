//! `lastcall demo` as a user runs it: what it prints, its exit codes, and that it leaves nothing behind.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The demo with its temporary files in `folder`.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastcall"));
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The processes that name this folder on their command line: the demo's children.
fn children(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(folder.to_str().unwrap()) {
            found.push(line);
        }
    }
    found
}

fn assert_nothing_left(folder: &Path) {
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    assert_eq!(children(folder), Vec::<String>::new());
}

#[test]
fn draining_loses_nothing_where_the_same_load_without_it_loses_requests() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &["--seconds", "10", "--output", "json"])
        .output()
        .unwrap();
    let log = said(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (without, with) = (&json["withoutDraining"], &json["withDraining"]);
    assert_eq!(with["failed"], 0, "{with}");
    assert_eq!(with["cut"], 0, "{with}");
    assert_eq!(with["inFlightAtSigterm"], 0, "{with}");
    assert!(without["failed"].as_u64() >= Some(50), "{without}");
    assert_eq!(without["requests"], with["requests"]);
    let victim = &with["drains"][0];
    assert_eq!(victim["scene"], "scaleIn");
    assert!(victim["inFlightAtHook"].as_u64() >= Some(50), "{victim}");
    assert_eq!(with["drains"].as_array().unwrap().len(), 4, "{with}");
    assert!(with["releaseMillis"]["p50"].as_f64() > Some(0.0), "{with}");
    assert_nothing_left(folder.path());
}

#[test]
fn an_interrupted_demo_leaves_no_process_and_no_file() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let child = demo(folder.path(), &["--seconds", "60"]).spawn().unwrap();
        let begin = Instant::now();
        // Two lastcalls and eight servers.
        while children(folder.path()).len() < 10 {
            let limit = Duration::from_secs(20);
            assert!(begin.elapsed() < limit, "{:?}", children(folder.path()));
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", said(&output));
        assert!(output.stdout.is_empty());
        assert_nothing_left(folder.path());
    }
}

#[test]
fn a_wrong_flag_is_named_with_its_range() {
    for (flag, value, range) in [
        ("--seconds", "9", "from 10 to 600"),
        ("--backends", "1", "from 2 to 20"),
        ("--rate", "many", "from 20 to 1000"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = demo(folder.path(), &[flag, value]).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(flag) && text.contains(range), "{text}");
        assert_nothing_left(folder.path());
    }
}
