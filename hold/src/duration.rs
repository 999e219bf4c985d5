//! Durations as people write them. Used by the arguments of `lastcall-hold` and of `lastcall`.

use std::fmt;
use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError {
    text: String,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a duration: write 30s, 2m, 1h, 500ms, or a whole number of seconds",
            self.text
        )
    }
}

impl std::error::Error for DurationError {}

/// Reads `500ms`, `30s`, `2m`, `1h` or a bare whole number of seconds, at most 24 hours.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const LONGEST: Duration = Duration::from_hours(24);
    let fail = || DurationError {
        text: text.to_owned(),
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| fail())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(fail()),
    };
    let duration = number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(fail)?;
    if duration > LONGEST {
        return Err(fail());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_the_forms_people_write() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("2m", 120_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_forms_that_are() {
        for text in [
            "",
            "s",
            "-1",
            "1.5s",
            "1 s",
            "25h",
            "3d",
            "99999999999999999999",
            "30S",
        ] {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains("30s, 2m"), "{text}: {error}");
        }
    }
}
