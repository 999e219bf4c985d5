//! The workers, as the coordinator and the metrics see them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::journal::DrainJournal;
use crate::admin;
use crate::drain::{self, HoldKey, Leaving, LiveLookup, Published};
use crate::gate::Generation;
use crate::model::EndpointId;
use crate::model::totals::{DataPlaneTotals, DrainTotals};
use crate::proxy::Workers;

/// What the coordinator drives.
pub(super) struct DataPlane(pub(super) Workers);

impl drain::DataPlane for DataPlane {
    fn publish(&self, published: Published) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let workers = self.0.clone();
        Box::pin(async move { workers.publish(published.snapshot, published.gates).await })
    }

    fn closed(&self, id: &EndpointId) {
        self.0.closed(id);
    }

    fn cut(&self, id: &EndpointId, generation: Generation) {
        self.0.cut(id, generation);
    }
}

/// Without a cluster there is nobody to ask: a caller that is gone for good has left its server running.
pub(super) struct NoCluster;

impl LiveLookup for NoCluster {
    fn leaving(&self, _key: &HoldKey) -> Pin<Box<dyn Future<Output = Leaving> + Send>> {
        Box::pin(std::future::ready(Leaving::No))
    }
}

/// What the metrics show.
pub(super) struct Statistics {
    pub(super) workers: Workers,
    pub(super) journal: Arc<DrainJournal>,
}

impl admin::Statistics for Statistics {
    fn data_plane(&self) -> DataPlaneTotals {
        self.workers.totals()
    }

    fn drains(&self) -> DrainTotals {
        self.journal.totals()
    }
}
