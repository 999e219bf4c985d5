//! The gate's one word: state and generation, changed together.

use super::in_flight::Admission;
use super::sync::{AtomicU64, Ordering};

/// What a gate lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Everything.
    Open,
    /// Only requests that session persistence directs to this endpoint.
    SessionsOnly,
    /// Nothing.
    Closed,
}

impl State {
    /// Whether a request of this kind may enter.
    pub fn admits(self, admission: Admission) -> bool {
        match self {
            State::Open => true,
            State::SessionsOnly => admission == Admission::Session,
            State::Closed => false,
        }
    }

    fn bits(self) -> u64 {
        match self {
            State::Open => 0,
            State::SessionsOnly => 1,
            State::Closed => 2,
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits & 0b11 {
            0 => State::Open,
            1 => State::SessionsOnly,
            _ => State::Closed,
        }
    }
}

/// Counts the changes of one gate, from 1. Wake-ups and confirmations carry it, so that close,
/// un-drain, close cannot confirm the second drain with the first one's zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// A state and the generation in which it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// What the gate lets through.
    pub state: State,
    /// Which change of the gate this is.
    pub generation: Generation,
}

const STATE_BITS: u32 = 2;

/// The phase as one atomic word: the generation above two bits of state.
pub(super) struct PhaseWord(AtomicU64);

impl PhaseWord {
    pub(super) fn new(state: State) -> Self {
        Self(AtomicU64::new((1 << STATE_BITS) | state.bits()))
    }

    pub(super) fn load(&self, ordering: Ordering) -> Phase {
        let word = self.0.load(ordering);
        Phase {
            state: State::from_bits(word),
            generation: Generation(word >> STATE_BITS),
        }
    }

    /// The next generation, in `state`.
    pub(super) fn advance(&self, state: State) -> Phase {
        let generation = Generation(self.load(Ordering::Relaxed).generation.0 + 1);
        let word = (generation.0 << STATE_BITS) | state.bits();
        self.0.store(word, Ordering::SeqCst);
        Phase { state, generation }
    }
}
