//! Which Backends a pod with these labels will serve, before it is there. For the webhook, which decides
//! whether a pod is to be held.

use super::selector::Selector;
use super::{Cluster, Labels};
use crate::model::ObjectName;
use crate::plan::{Objects, name_of};

/// The Backends of the namespace that select pods with these labels, by themselves or by their Service.
pub fn selecting(
    objects: &Objects,
    cluster: &Cluster,
    namespace: &str,
    labels: &Labels,
) -> Vec<ObjectName> {
    let backends = objects.backends.iter().filter_map(|object| {
        let meta = &object.metadata;
        let name = name_of(meta.namespace.as_ref(), meta.name.as_ref());
        (*name.namespace == *namespace).then_some((name, &object.spec))
    });
    let selects = |spec: &crate::api::BackendSpec| match (&spec.pods, &spec.service) {
        (Some(pods), _) => Selector::read(pods).is_ok_and(|selector| selector.matches(labels)),
        (None, Some(service)) => {
            let name = ObjectName::new(namespace, &service.name);
            cluster
                .services
                .get(&name)
                .is_some_and(|service| leads_to(&service.selector, labels))
        }
        (None, None) => false,
    };
    backends
        .filter(|(_, spec)| selects(spec))
        .map(|(name, _)| name)
        .collect()
}

/// A Service without a selector leads to what others wrote into its slices.
fn leads_to(selector: &Labels, labels: &Labels) -> bool {
    let mut wanted = selector.iter().peekable();
    wanted.peek().is_some() && wanted.all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cluster::Service;
    use std::sync::Arc;

    fn backend(name: &str, spec: &serde_json::Value) -> crate::api::Backend {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "lastcall.dev/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn backends_select_by_themselves_or_by_their_service() {
        let by_label =
            serde_json::json!({"pods": {"selector": {"matchLabels": {"app": "web"}}, "port": 80}});
        let by_service = |name: &str| serde_json::json!({"service": {"name": name, "port": 80}});
        let objects = Objects {
            load_balancers: Vec::new(),
            backends: vec![
                backend("labels", &by_label),
                backend("service", &by_service("web")),
                backend("without-selector", &by_service("by-hand")),
                backend("without-service", &by_service("none")),
            ],
        };
        let service = |selector: Labels| {
            Arc::new(Service {
                selector,
                ..Service::default()
            })
        };
        let web: Labels = [("app", "web"), ("tier", "front")].into_iter().collect();
        let cluster = Cluster {
            services: [
                (ObjectName::new("shop", "web"), service(web)),
                (
                    ObjectName::new("shop", "by-hand"),
                    service(Labels::default()),
                ),
            ]
            .into(),
            ..Cluster::default()
        };
        let names = |namespace: &str, labels: &[(&str, &str)]| -> Vec<String> {
            let labels = labels.iter().copied().collect();
            let found = selecting(&objects, &cluster, namespace, &labels);
            found.iter().map(|name| name.name.to_string()).collect()
        };
        assert_eq!(names("shop", &[("app", "web")]), ["labels"]);
        assert_eq!(
            names("shop", &[("tier", "front"), ("app", "web")]),
            ["labels", "service"]
        );
        assert!(names("shop", &[("app", "other")]).is_empty());
        assert!(names("other", &[("app", "web")]).is_empty());
    }
}
