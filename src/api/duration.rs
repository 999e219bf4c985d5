//! Durations as Gateway API writes them (GEP-2257): `250ms`, `10s`, `1h30m`. Request timeouts and
//! intervals use them; drain times are plain seconds.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// GEP-2257's pattern: one to four parts of up to five digits and a unit.
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// No text that matches the pattern is longer.
pub const MAX_LENGTH: u64 = 28;

/// A duration, written as GEP-2257 says. The text is kept, so that what was written is shown again.
#[derive(Clone, PartialEq, Eq)]
pub struct GatewayDuration {
    text: String,
    value: Duration,
}

impl GatewayDuration {
    /// How long it is.
    pub fn get(&self) -> Duration {
        self.value
    }

    /// A duration of whole seconds, written as such.
    pub fn from_secs(seconds: u32) -> Self {
        Self {
            text: format!("{seconds}s"),
            value: Duration::from_secs(seconds.into()),
        }
    }
}

/// The text is no duration; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no duration: write one to four numbers of at most five digits, each with a unit (h, m, s, ms), such as 250ms or 1h30m"
)]
pub struct DurationError {
    text: String,
}

impl FromStr for GatewayDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text)
            .map(|value| Self {
                text: text.to_owned(),
                value,
            })
            .ok_or_else(|| DurationError {
                text: text.to_owned(),
            })
    }
}

/// Reads the parts one after another; `None` where the text does not match [`PATTERN`].
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        // `ms` before `m` and `s`: the longest unit is the one that was meant.
        let (part, after) = if let Some(after) = after.strip_prefix("ms") {
            (Duration::from_millis(number), after)
        } else if let Some(after) = after.strip_prefix('h') {
            (Duration::from_secs(number * 3600), after)
        } else if let Some(after) = after.strip_prefix('m') {
            (Duration::from_secs(number * 60), after)
        } else if let Some(after) = after.strip_prefix('s') {
            (Duration::from_secs(number), after)
        } else {
            return None;
        };
        total += part;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

impl fmt::Display for GatewayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for GatewayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for GatewayDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for GatewayDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for GatewayDuration {
    fn schema_name() -> Cow<'static, str> {
        "GatewayDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gep_2257_allows_is_read() {
        // The valid and invalid examples of GEP-2257 itself, and the edges of its pattern.
        for (text, millis) in [
            ("0h", 0),
            ("0s", 0),
            ("1h", 3_600_000),
            ("30m", 1_800_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("2h30m", 9_000_000),
            ("150m", 9_000_000),
            ("7230s", 7_230_000),
            ("1h30m10s", 5_410_000),
            ("10s30m1h", 5_410_000),
            ("100ms200ms300ms", 600),
            ("1m1ms", 60_001),
            ("99999h", 359_996_400_000),
        ] {
            let read: GatewayDuration = text.parse().unwrap();
            assert_eq!(read.get().as_millis(), millis, "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_gep_2257_forbids_is_refused_with_an_example() {
        for text in [
            "",
            "1",
            "1m1",
            "1h30m10s20ms50h",
            "999999h",
            "1.5h",
            "-15m",
            "s",
            "1d",
            "1 s",
            "1S",
            "1us",
        ] {
            let error = text.parse::<GatewayDuration>().unwrap_err().to_string();
            assert!(error.contains("250ms"), "{text}: {error}");
        }
    }
}
