//! When exchanges are due at a fixed rate: at even distances from the start, whatever the answers do, so that a
//! proxy that stalls is charged for those that it kept waiting.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How often it is looked at what is due: the runtime's own timers are a millisecond apart, which is more than
/// most exchanges take.
const TICK: Duration = Duration::from_micros(50);

/// Exchanges at a fixed rate.
pub struct Pace {
    began: Instant,
    distance: f64,
    total: u64,
    taken: Cell<u64>,
    due: Semaphore,
}

impl Pace {
    /// So many a second, for so long; the first is due now.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Some thousands.
    pub fn new(rate: f64, seconds: f64) -> Self {
        Self {
            began: Instant::now(),
            distance: 1.0 / rate,
            total: (rate * seconds).ceil() as u64,
            taken: Cell::new(0),
            due: Semaphore::new(0),
        }
    }

    /// Waits for the next that is due, and says since when it is; `None` after the last.
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    pub async fn next(&self) -> anyhow::Result<Option<Instant>> {
        self.due.acquire().await?.forget();
        let at = self.taken.get();
        self.taken.set(at + 1);
        let since = Duration::from_secs_f64(at as f64 * self.distance);
        Ok((at < self.total).then(|| self.began + since))
    }

    /// Begins to hand them out, to so many clients.
    pub fn start(
        self: &Rc<Self>,
        clients: usize,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
        // Not a pipe, but read as one is.
        let mut ticks = Receiver::from_owned_fd_unchecked(ticks()?)?;
        let pace = Rc::clone(self);
        Ok(tokio::task::spawn_local(async move {
            let mut given = 0;
            while given < pace.total {
                // How many ticks there were does not matter: the clock says what is due.
                ticks.read_exact(&mut [0; 8]).await?;
                let due = pace.due_now();
                pace.due.add_permits(usize::try_from(due - given)?);
                given = due;
            }
            // Each client waits for one more, and is told that there is none.
            pace.due.add_permits(clients);
            Ok(())
        }))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Some thousands.
    fn due_now(&self) -> u64 {
        let due = self.began.elapsed().as_secs_f64() / self.distance;
        (due as u64 + 1).min(self.total)
    }
}

fn ticks() -> std::io::Result<OwnedFd> {
    let fd = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(TICK.subsec_nanos()),
    };
    let every = Itimerspec {
        it_interval: tick,
        it_value: tick,
    };
    timerfd_settime(&fd, TimerfdTimerFlags::empty(), &every)?;
    Ok(fd)
}
