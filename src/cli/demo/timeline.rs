//! When what happens in the demo, worked out from its flags. Pure.

use std::time::Duration;

use super::plan::{Burst, Outline, Shares};

/// Requests in flight on the server that the scale-in takes away, when its hook is called.
pub const VICTIM_IN_FLIGHT: u64 = 50;
/// Slow requests a server in the burst: some are on the way and some are over when the hook is called.
const BURST_PER_SERVER: u64 = VICTIM_IN_FLIGHT * 3 / 2;
/// Requests longer than this would show nothing more.
const LONGEST: Duration = Duration::from_secs(15);
/// A rolling update takes its servers in so many steps, as a Deployment's `maxSurge: 25%` does.
const STEPS: usize = 4;

/// The moments, each counted from the load's beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Servers at the beginning; the scale-in leaves one less.
    pub servers: usize,
    /// The burst begins: slow requests for every server, until the victim has its 50.
    pub scale_in: Duration,
    /// The first step of the rolling update begins (later where the scale-in is not over).
    pub rollout: Duration,
    /// From one step to the next (later where a step is not over).
    pub step: Duration,
    /// Servers that are replaced in one step.
    pub batch: usize,
    /// The longest that a request takes by itself.
    pub longest: Duration,
    /// The last request begins before this.
    pub load: Duration,
    /// All of it.
    pub total: Duration,
}

impl Timeline {
    /// Fits both scenes into `total`, on so many servers (at least 2).
    pub fn new(total: Duration, servers: usize) -> Self {
        let left = servers.saturating_sub(1).max(1);
        let batch = left.div_ceil(STEPS);
        let steps = u32::try_from(left.div_ceil(batch)).unwrap_or(u32::MAX);
        let ramp = (total / 15).min(Duration::from_secs(2));
        let rollout = total.mul_f64(0.3);
        // A step is over when its longest request is: that may take 0.6 of the step, and the load's last
        // request must end by `total`. Solved for the longest: step = (total - longest - rollout) / steps.
        let fitting = total
            .saturating_sub(rollout)
            .mul_f64(0.6 / (f64::from(steps) + 0.6));
        let longest = fitting.min(rollout.saturating_sub(ramp * 2)).min(LONGEST);
        let load = total.saturating_sub(longest);
        Self {
            servers,
            scale_in: ramp,
            rollout,
            step: load.saturating_sub(rollout) / steps,
            batch,
            longest,
            load,
            total,
        }
    }

    /// The plan's outline for these moments.
    pub fn outline(&self, seed: u64, rate: f64) -> Outline {
        Outline {
            seed,
            rate,
            lasts: self.load,
            longest: self.longest,
            shares: Shares::default(),
            burst: Some(Burst {
                from: self.scale_in,
                until: self.scale_in * 2,
                requests: BURST_PER_SERVER * self.servers as u64,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scenes_fit_into_the_time_whatever_the_flags() {
        for seconds in [10, 12, 30, 60, 600] {
            for servers in 2..=20 {
                let total = Duration::from_secs(seconds);
                let line = Timeline::new(total, servers);
                let steps = (servers - 1).div_ceil(line.batch);
                let why = format!("{seconds} s, {servers} servers: {line:?}");
                assert!(steps <= STEPS, "{why}");
                assert!(line.longest >= Duration::from_millis(500), "{why}");
                assert!(line.scale_in * 2 + line.longest <= line.rollout, "{why}");
                assert!(line.longest < line.step.mul_f64(0.61), "{why}");
                let end = line.rollout + line.step * u32::try_from(steps).unwrap();
                assert!(end <= line.load + Duration::from_millis(1), "{why}");
                assert!(line.load + line.longest <= total, "{why}");
            }
        }
    }
}
