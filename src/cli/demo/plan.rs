//! The plan of requests: what is sent, and when, drawn from a seed, so that two runs get the very same
//! requests at the very same moments. Pure. [`super::load`] sends it, [`super::backend`] serves it.

use std::sync::LazyLock;
use std::time::Duration;

/// Random numbers from a seed: `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014).
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[0, 1)`.
    #[allow(clippy::cast_precision_loss)] // 53 bits are what an f64 holds exactly.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A duration between the two, evenly.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// A number between the two, evenly, both ends included.
    pub fn number(&mut self, least: u64, most: u64) -> u64 {
        least + self.bits() % (most.saturating_sub(least) + 1)
    }
}

/// What a request asks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many bytes, after a delay.
    Answer {
        /// From the request's end to the answer's beginning.
        delay: Duration,
        /// Length of the answer.
        bytes: u64,
    },
    /// So many bytes, chunked, spread over a time.
    Stream {
        /// From the first byte to the last.
        over: Duration,
        /// Length of the answer.
        bytes: u64,
    },
    /// The client sends so many bytes, spread over a time; the server answers their checksum.
    Upload {
        /// From the first byte to the last.
        over: Duration,
        /// Length of the request's body.
        bytes: u64,
        /// Chunked, or with a Content-Length.
        chunked: bool,
    },
}

impl Work {
    /// How long it takes where nothing is slow.
    pub fn duration(&self) -> Duration {
        match *self {
            Self::Answer { delay, .. } => delay,
            Self::Stream { over, .. } | Self::Upload { over, .. } => over,
        }
    }
}

/// One request of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number, from 0, in order of `at`.
    pub id: u64,
    /// When it starts, from the load's beginning.
    pub at: Duration,
    /// POST (which no client may replay, RFC 9110 section 9.2.2), or GET.
    pub post: bool,
    /// On a connection of its own, closed after it; or on a kept-alive one.
    pub fresh: bool,
    /// What it asks.
    pub work: Work,
}

/// How many of each kind, of 100. What is left over are short answers of a few milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Answers after a delay of up to the longest.
    pub slow: u64,
    /// Streams over up to the longest.
    pub stream: u64,
    /// Uploads over up to half of the longest.
    pub upload: u64,
    /// Requests that open a connection of their own.
    pub fresh: u64,
    /// Requests that are POSTs (an upload always is).
    pub post: u64,
}

impl Default for Shares {
    /// Three quarters POST, so that no client's replay can hide a loss.
    fn default() -> Self {
        Self {
            slow: 10,
            stream: 10,
            upload: 10,
            fresh: 25,
            post: 72,
        }
    }
}

/// Many slow requests in a short time: what puts work in flight on every server at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The first.
    pub from: Duration,
    /// The last.
    pub until: Duration,
    /// How many.
    pub requests: u64,
}

/// What a plan is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// Same seed, same plan.
    pub seed: u64,
    /// Requests a second, on average; they come at random (a Poisson process).
    pub rate: f64,
    /// The last request starts before this.
    pub lasts: Duration,
    /// The longest that a request takes by itself.
    pub longest: Duration,
    /// The kinds.
    pub shares: Shares,
    /// On top of the rate.
    pub burst: Option<Burst>,
}

impl Outline {
    /// Draws the plan, sorted by start.
    pub fn draw(&self) -> Vec<Planned> {
        let mut random = Seeded::new(self.seed);
        let mut plan = Vec::new();
        let mut at = Duration::ZERO;
        loop {
            // Gaps of a Poisson process are exponential; 1 - unit is never 0.
            at += Duration::from_secs_f64(-(1.0 - random.unit()).ln() / self.rate);
            if at >= self.lasts {
                break;
            }
            plan.push(self.request(at, &mut random));
        }
        if let Some(burst) = self.burst {
            plan.extend((0..burst.requests).map(|_| Planned {
                id: 0,
                at: random.between(burst.from, burst.until),
                post: random.number(0, 99) < 75,
                fresh: random.number(0, 99) < self.shares.fresh,
                work: Work::Answer {
                    delay: random.between(self.longest / 2, self.longest),
                    bytes: random.number(64, 4096),
                },
            }));
        }
        plan.sort_by_key(|planned| planned.at);
        for (id, planned) in (0..).zip(&mut plan) {
            planned.id = id;
        }
        plan
    }

    fn request(&self, at: Duration, random: &mut Seeded) -> Planned {
        let work = self.work(random);
        let post = random.number(0, 99) < self.shares.post;
        Planned {
            id: 0,
            at,
            post: post || matches!(work, Work::Upload { .. }),
            fresh: random.number(0, 99) < self.shares.fresh,
            work,
        }
    }

    fn work(&self, random: &mut Seeded) -> Work {
        let Shares {
            slow,
            stream,
            upload,
            ..
        } = self.shares;
        let quick = Duration::from_millis(5);
        let kind = random.number(0, 99);
        if kind < slow {
            Work::Answer {
                delay: random.between(self.longest / 8, self.longest),
                bytes: random.number(64, 4096),
            }
        } else if kind < slow + stream {
            Work::Stream {
                over: random.between(self.longest / 8, self.longest),
                bytes: random.number(1024, 64 * 1024),
            }
        } else if kind < slow + stream + upload {
            Work::Upload {
                over: random.between(quick, self.longest / 2),
                bytes: random.number(1024, 256 * 1024),
                chunked: random.number(0, 1) == 1,
            }
        } else {
            Work::Answer {
                delay: random.between(quick, quick * 6),
                bytes: random.number(16, 16 * 1024),
            }
        }
    }
}

/// A prime: a lost, doubled or foreign piece of any usual size shows.
const PERIOD: u8 = 251;

/// What every content repeats.
static CYCLE: LazyLock<Vec<u8>> = LazyLock::new(|| (0..PERIOD).collect());

/// The body that belongs to a request's number, the same for whoever asks: `length` bytes from `offset`.
pub fn content(id: u64, offset: u64, length: usize) -> Vec<u8> {
    // A start of its own for each request.
    let start = Seeded::new(id).bits() % u64::from(PERIOD);
    let first = (start + offset) % u64::from(PERIOD);
    let mut from = usize::try_from(first).unwrap_or_default();
    let mut content = Vec::with_capacity(length);
    while content.len() < length {
        let left = &CYCLE[from..];
        content.extend_from_slice(&left[..left.len().min(length - content.len())]);
        from = 0;
    }
    content
}

/// A checksum that is fed piece by piece: CRC-32 and the length.
#[derive(Clone, Debug, Default)]
pub struct Checksum {
    crc: crc32fast::Hasher,
    length: u64,
}

impl Checksum {
    /// Takes the next piece in.
    pub fn feed(&mut self, piece: &[u8]) {
        self.crc.update(piece);
        self.length += piece.len() as u64;
    }

    /// Of a request's whole content.
    pub fn of_content(id: u64, bytes: u64) -> Self {
        let mut sum = Self::default();
        let mut offset = 0;
        while offset < bytes {
            let length = (bytes - offset).min(16 * 1024);
            sum.feed(&content(id, offset, usize::try_from(length).unwrap_or(0)));
            offset += length;
        }
        sum
    }

    fn value(&self) -> (u32, u64) {
        (self.crc.clone().finalize(), self.length)
    }
}

impl PartialEq for Checksum {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (crc, length) = self.value();
        write!(out, "{crc:08x}-{length}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(seed: u64) -> Outline {
        Outline {
            seed,
            rate: 200.0,
            lasts: Duration::from_secs(20),
            longest: Duration::from_secs(4),
            shares: Shares::default(),
            burst: Some(Burst {
                from: Duration::from_secs(1),
                until: Duration::from_secs(2),
                requests: 200,
            }),
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_seed_another() {
        assert_eq!(outline(7).draw(), outline(7).draw());
        assert_ne!(outline(7).draw(), outline(8).draw());
    }

    #[test]
    fn the_plan_keeps_rate_order_and_bounds() {
        let plan = outline(1).draw();
        let base = plan.len() - 200;
        assert!((3_700..4_300).contains(&base), "{base} requests in 20 s");
        assert!(plan.is_sorted_by_key(|planned| planned.at));
        assert!(plan.iter().zip(0..).all(|(planned, id)| planned.id == id));
        assert!(plan.iter().all(|planned| {
            planned.at < Duration::from_secs(20)
                && planned.work.duration() <= Duration::from_secs(4)
        }));
    }

    #[test]
    fn three_quarters_are_posts_and_every_upload_is_one() {
        let plan = outline(3).draw();
        let posts = plan.iter().filter(|planned| planned.post).count() * 100 / plan.len();
        assert!((72..=78).contains(&posts), "{posts} % are POSTs");
        assert!(
            plan.iter()
                .all(|planned| planned.post || !matches!(planned.work, Work::Upload { .. }))
        );
        let fresh = plan.iter().filter(|planned| planned.fresh).count() * 100 / plan.len();
        assert!(
            (20..=30).contains(&fresh),
            "{fresh} % on connections of their own"
        );
    }

    #[test]
    fn content_in_pieces_is_the_content() {
        let whole = content(42, 0, 1000);
        let mut pieces = content(42, 0, 333);
        pieces.extend(content(42, 333, 667));
        assert_eq!(whole, pieces);
        assert_ne!(whole, content(43, 0, 1000));
        let mut sum = Checksum::default();
        sum.feed(&whole);
        assert_eq!(sum, Checksum::of_content(42, 1000));
    }

    #[test]
    fn the_checksum_is_crc_32() {
        let mut sum = Checksum::default();
        sum.feed(b"1234");
        sum.feed(b"56789");
        assert_eq!(sum.to_string(), "cbf43926-9");
    }
}
