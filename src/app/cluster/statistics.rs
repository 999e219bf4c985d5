//! The numbers of a lastcall in a cluster: those of any, and what only a cluster has.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin;
use crate::admission::ReviewCounts;
use crate::app::data_plane::Statistics;
use crate::controller::Running;
use crate::model::totals::{ClusterTotals, DataPlaneTotals, DrainTotals};

/// What the metrics show.
pub(super) struct InCluster {
    pub(super) own: Statistics,
    pub(super) running: watch::Receiver<Arc<Running>>,
    pub(super) reviews: Arc<ReviewCounts>,
}

impl admin::Statistics for InCluster {
    fn data_plane(&self) -> DataPlaneTotals {
        self.own.data_plane()
    }

    fn drains(&self) -> DrainTotals {
        self.own.drains()
    }

    fn cluster(&self) -> Option<ClusterTotals> {
        let running = self.running.borrow().clone();
        let unprotected = running.unprotected.iter();
        Some(ClusterTotals {
            unprotected: unprotected
                .map(|(backend, there)| (backend.clone(), there.pods))
                .collect(),
            reviews: self.reviews.by_result(),
        })
    }
}
