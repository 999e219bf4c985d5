//! Releases that stand: a pod that was let go stays closed until each container that was let go is proved
//! to run anew (Law 6). Kept by [`super::holds`].

use std::collections::BTreeSet;

use super::HoldKey;

/// Containers of pods that were let go and have not come back.
#[derive(Default)]
pub(super) struct Standing {
    released: BTreeSet<HoldKey>,
}

impl Standing {
    /// The hold was released. One without a container is a person's or a unit's, who enables again by hand.
    pub(super) fn released(&mut self, key: HoldKey) {
        if !key.container.is_empty() {
            self.released.insert(key);
        }
    }

    /// Whether some container of the pod was let go.
    pub(super) fn has_pod(&self, uid: &str) -> bool {
        self.released.iter().any(|key| key.id == uid)
    }

    /// The container came back; false where it was not away.
    pub(super) fn came_back(&mut self, key: &HoldKey) -> bool {
        self.released.remove(key)
    }

    /// The pod is gone.
    pub(super) fn forget_pod(&mut self, uid: &str) {
        self.released.retain(|key| key.id != uid);
    }
}
