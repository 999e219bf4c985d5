//! Runs kubectl, helm and the scripts of the tests' cluster, and says all that a failed one said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A path in the source tree.
pub fn tree(path: &str) -> PathBuf {
    root().join(path)
}

/// Tells a figure that is of interest where the test passes too: at once, for the tests' runner keeps what is printed, and
/// shows it of failed tests only.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a program of this name (in the path, or a path in the source tree) to its end; what it printed, or what it said
/// as it failed.
pub fn attempt(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    let shown = format!("{program} {}", arguments.join(" "));
    let output = finish(command, input).map_err(|error| format!("{shown}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown}: {}\n{said}{text}", output.status))
}

fn finish(mut command: Command, input: &str) -> std::io::Result<Output> {
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // What is not read shows as a failure of the program.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// [`attempt`], which has to succeed.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    attempt(program, arguments, "").unwrap_or_else(|error| panic!("{error}"))
}
