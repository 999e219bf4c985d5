//! Draining, reloads, restarts and volume under real traffic: the real `lastcall`, servers that are
//! processes of their own and exit at once on SIGTERM, an open-loop load of which three quarters are POSTs.
//! Wherever a test says "nothing was lost", another shows that the same test can see a loss.
//!
//! `LASTCALL_SOAK=1` (which is `make soak`) runs the long forms.

#[path = "../proxy/support/mod.rs"]
mod support;

mod admin;
mod bulk;
mod crowd;
mod deadline;
mod draining;
mod flow;
mod hold;
mod holds;
mod leaving;
mod pair;
mod reloads;
mod restart;
mod status;
mod stopping;
mod tcp;
mod volume;

use flow::{is_soak, short_or_long};
