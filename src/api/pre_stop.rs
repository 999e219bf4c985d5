//! What a container does before it is stopped: nothing, a `sleep` that can be replaced, our hook, or
//! something of its own. Pure; called by [`super::protection`] and by `admission`, which
//! adds the hook.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::pods::{HOLD_PROGRAM, PRE_STOP_PATH};

/// A container's preStop hook, as far as we are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreStop {
    /// None.
    Absent,
    /// Waits for so many whole seconds, rounded up, and does nothing else.
    Sleep(u32),
    /// Ours, in exec mode.
    OurExec,
    /// Ours, in `HTTPGet` mode.
    OurHttpGet,
    /// Something else, which must be left alone.
    Own,
}

/// Reads a container's preStop hook.
pub fn of(container: &Container) -> PreStop {
    let handler = container
        .lifecycle
        .as_ref()
        .and_then(|l| l.pre_stop.as_ref());
    let Some(handler) = handler.filter(|handler| **handler != LifecycleHandler::default()) else {
        return PreStop::Absent;
    };
    if let Some(sleep) = &handler.sleep {
        return match u32::try_from(sleep.seconds) {
            Ok(seconds) => PreStop::Sleep(seconds),
            Err(_) => PreStop::Own,
        };
    }
    if let Some(get) = &handler.http_get {
        let ours = get
            .path
            .as_deref()
            .is_some_and(|p| p.starts_with(PRE_STOP_PATH));
        return if ours {
            PreStop::OurHttpGet
        } else {
            PreStop::Own
        };
    }
    let command = handler
        .exec
        .as_ref()
        .and_then(|exec| exec.command.as_deref());
    let command: Vec<&str> = command
        .unwrap_or_default()
        .iter()
        .map(String::as_str)
        .collect();
    match command.as_slice() {
        [HOLD_PROGRAM, ..] => PreStop::OurExec,
        other => slept(other).map_or(PreStop::Own, PreStop::Sleep),
    }
}

/// The id that a hook in `HTTPGet` mode calls by, see [`PRE_STOP_PATH`].
pub fn called_id(container: &Container) -> Option<&str> {
    let hook = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
    let path = hook.http_get.as_ref()?.path.as_deref()?;
    path.strip_prefix(PRE_STOP_PATH)?.split('/').nth(1)
}

/// The seconds that `sleep N` or `sh -c "sleep N"` waits, or `None` for any other command.
fn slept(command: &[&str]) -> Option<u32> {
    match command {
        [program, duration] if file_name(program) == "sleep" => seconds(duration),
        [shell, "-c", line] if SHELLS.contains(&file_name(shell)) => {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["exec", rest @ ..] => slept_plainly(rest),
                all => slept_plainly(all),
            }
        }
        _ => None,
    }
}

const SHELLS: [&str; 4] = ["sh", "bash", "ash", "dash"];

/// As [`slept`], but no shell within a shell.
fn slept_plainly(words: &[&str]) -> Option<u32> {
    match words {
        [program, duration] if file_name(program) == "sleep" => {
            seconds(duration.trim_end_matches(';'))
        }
        _ => None,
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads what sleep(1) takes, a number with or without a fraction and a unit (s, m, h), in seconds
/// rounded up. Days and `infinity` are no hook that could be replaced.
fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 's') => (&text[..at], 1.0),
        (at, 'm') => (&text[..at], 60.0),
        (at, 'h') => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let count: f64 = number.parse().ok().filter(|_| digits)?;
    let whole = (count * unit).ceil();
    // Between 0 and a day, so it fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (whole <= 86_400.0).then_some(whole as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pre_stop: &str) -> PreStop {
        let yaml = format!("{{name: a, lifecycle: {{preStop: {pre_stop}}}}}");
        of(&serde_saphyr::from_str(&yaml).unwrap())
    }

    #[test]
    fn a_hook_that_only_sleeps_is_told_from_any_other() {
        for (hook, expected) in [
            ("null", PreStop::Absent),
            ("{}", PreStop::Absent),
            ("{sleep: {seconds: 15}}", PreStop::Sleep(15)),
            ("{sleep: {seconds: 0}}", PreStop::Sleep(0)),
            ("{exec: {command: [sleep, '15']}}", PreStop::Sleep(15)),
            ("{exec: {command: [sleep, 15s]}}", PreStop::Sleep(15)),
            ("{exec: {command: [sleep, '0.2']}}", PreStop::Sleep(1)),
            ("{exec: {command: [sleep, 2m]}}", PreStop::Sleep(120)),
            ("{exec: {command: [/bin/sleep, '15']}}", PreStop::Sleep(15)),
            (
                "{exec: {command: [/usr/bin/sleep, '15']}}",
                PreStop::Sleep(15),
            ),
            ("{exec: {command: [sh, -c, sleep 15]}}", PreStop::Sleep(15)),
            (
                "{exec: {command: [/bin/sh, -c, ' sleep  15; ']}}",
                PreStop::Sleep(15),
            ),
            (
                "{exec: {command: [/bin/bash, -c, exec /bin/sleep 15]}}",
                PreStop::Sleep(15),
            ),
            (
                "{exec: {command: [sh, -c, sleep 15 && nginx -s quit]}}",
                PreStop::Own,
            ),
            (
                "{exec: {command: [sh, -c, sleep 15; kill 1]}}",
                PreStop::Own,
            ),
            ("{exec: {command: [sh, -c, 'sleep $N']}}", PreStop::Own),
            ("{exec: {command: [sh, -ec, sleep 15]}}", PreStop::Own),
            ("{exec: {command: [sleep, infinity]}}", PreStop::Own),
            ("{exec: {command: [sleep, inf]}}", PreStop::Own),
            ("{exec: {command: [sleep, '1e9']}}", PreStop::Own),
            ("{exec: {command: [sleep, '']}}", PreStop::Own),
            ("{exec: {command: [sleep, '-1']}}", PreStop::Own),
            ("{exec: {command: [sleep, '5', '5']}}", PreStop::Own),
            ("{exec: {command: [sleep]}}", PreStop::Own),
            ("{exec: {command: [/opt/app/quit]}}", PreStop::Own),
            (
                "{exec: {command: [/.lastcall/lastcall-hold, --pod]}}",
                PreStop::OurExec,
            ),
            (
                "{httpGet: {path: /v1/prestop/a/b/c, port: 1}}",
                PreStop::OurHttpGet,
            ),
            ("{httpGet: {path: /quit, port: 80}}", PreStop::Own),
            ("{httpGet: {port: 80}}", PreStop::Own),
        ] {
            assert_eq!(read(hook), expected, "{hook}");
        }
        assert_eq!(of(&Container::default()), PreStop::Absent);
    }
}
