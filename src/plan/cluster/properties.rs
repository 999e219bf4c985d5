//! What holds of the endpoints of every cluster, however far its watches are apart.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::tests::{cluster, facts_of, listed, pod, served};
use super::*;
use crate::model::{EndpointSpec, Member};

/// Few names and UIDs, so that slices speak of pods that are gone, have come back, or not yet come.
fn a_pod() -> impl Strategy<Value = Pod> {
    let deletion = prop::option::of(0_u64..9);
    (0_u8..4, 0_u8..3, any::<bool>(), any::<bool>(), deletion).prop_map(
        |(name, generation, over, ready, deletion)| Pod {
            over,
            ready,
            deletion: deletion.map(Duration::from_secs),
            ..pod(
                &format!("web-{name}"),
                &format!("u{name}-{generation}"),
                &format!("10.0.0.{name}"),
            )
        },
    )
}

fn endpoint() -> impl Strategy<Value = SliceEndpoint> {
    let condition = || prop::option::of(any::<bool>());
    let conditions = (condition(), condition(), condition());
    let shape = (any::<bool>(), any::<bool>());
    (a_pod(), conditions, shape).prop_map(|(pod, (ready, serving, terminating), (six, fixed))| {
        let mut endpoint = SliceEndpoint {
            ready,
            serving,
            terminating,
            ..listed(&pod)
        };
        if six {
            endpoint.address = "fd00::1".parse().unwrap();
        }
        if fixed {
            endpoint.pod = None;
        }
        endpoint
    })
}

fn clusters() -> impl Strategy<Value = Cluster> {
    let pods = prop::collection::vec(a_pod(), 0..6);
    let slice = prop::collection::vec(endpoint(), 0..6);
    (pods, prop::collection::vec(slice, 0..4)).prop_map(|(pods, slices)| cluster(pods, slices))
}

fn check(endpoints: &[EndpointSpec], cluster: &Cluster) -> Result<(), TestCaseError> {
    prop_assert!(endpoints.is_sorted_by(|a, b| a.id < b.id), "each once");
    let mut pods = BTreeSet::new();
    for endpoint in endpoints {
        let Member::Pod { uid, .. } = &endpoint.id.member else {
            continue;
        };
        prop_assert!(pods.insert(uid), "one address of each pod's port");
        let known = cluster.pods.values().find(|pod| pod.uid == *uid);
        let Some(known) = known else {
            return Err(TestCaseError::fail(format!("pod {uid} is gone")));
        };
        prop_assert!(!known.over);
        prop_assert_eq!(endpoint.pod.as_deref(), Some(&*known.name.name));
        if let Some(grace) = known.deletion {
            prop_assert_eq!(endpoint.stopping.map(|s| s.grace), Some(grace));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_endpoint_is_never_of_a_pod_that_is_gone(cluster in clusters()) {
        check(&served(&cluster), &cluster)?;
        let selector = json!({"matchLabels": {"app": "web"}});
        let facts = facts_of(json!({"pods": {"selector": selector, "port": 1}}), &cluster);
        let selected = facts.endpoints.values().next().expect("a number needs no name");
        check(selected, &cluster)?;
        prop_assert_eq!(selected.len(), cluster.pods.values().filter(|pod| !pod.over).count());
    }
}
