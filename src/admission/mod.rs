//! The webhooks: which pods get the hook, and how. What decides is pure.

pub mod exec_hook;
pub mod grace;
pub mod inject;
mod pre_stop;
pub mod protection;
pub mod settings;

pub use inject::inject;
pub use protection::{NotProtected, Protection, protection};
pub use settings::{Delivery, HookMode, HookService, InjectRequest, PodFacts, Settings};
