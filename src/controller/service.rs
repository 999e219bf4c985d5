//! The Service of a LoadBalancer: what it is to be, pure. It stands in lastcall's own namespace and leads to
//! the container ports that were allotted to the listeners; its targetPorts are the one record of that.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};

use crate::api::LoadBalancer;
use crate::api::service_template::{ExternalTrafficPolicy, ServiceType};
use crate::model::ObjectName;
use crate::plan::allotment::{Allotment, ListenerPort};

/// The label by which our Services are found and swept: owner references do not cross namespaces.
pub(super) const OWNER: &str = "lastcall.dev/owner";
/// What the label's value cannot hold in full: `namespace/name`.
const OWNER_NAME: &str = "lastcall.dev/load-balancer";
/// Names of Services and values of labels are no longer.
const LONGEST: usize = 63;

/// What all our Services have in common.
#[derive(Clone, Debug)]
pub struct Template {
    /// lastcall's own namespace.
    pub namespace: String,
    /// The labels of lastcall's own pods.
    pub selector: BTreeMap<String, String>,
}

/// The Service's name, `lb-NAMESPACE-NAME`; hashed where that is too long or not unique (`a-b` of `c` and
/// `b` of `c-a` would be one name).
pub(super) fn name(owner: &ObjectName) -> String {
    let plain = format!("lb-{}-{}", owner.namespace, owner.name);
    if plain.len() <= LONGEST && !owner.namespace.contains('-') && !owner.name.contains('.') {
        return plain;
    }
    let digest = Sha256::digest(owner.to_string());
    let hash = digest[..5].iter().fold(String::new(), |mut hash, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    });
    let room = LONGEST - hash.len() - 1;
    let short: String = plain.replace('.', "-").chars().take(room).collect();
    format!("{}-{hash}", short.trim_end_matches('-'))
}

/// The Service that the LoadBalancer is to have. A listener without a container port is not in it.
pub(super) fn wanted(
    owner: &ObjectName,
    object: &LoadBalancer,
    ports: &Allotment,
    template: &Template,
) -> Service {
    let spec = &object.spec;
    let service = spec.service.clone().unwrap_or_default();
    let service_ports: Vec<ServicePort> = spec
        .listeners
        .iter()
        .filter_map(|listener| {
            let target = *ports.get(&(owner.clone(), listener.port))?;
            Some(ServicePort {
                name: Some(listener.name.clone()),
                port: listener.port.into(),
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(target.into())),
                ..ServicePort::default()
            })
        })
        .collect();
    let kind = match service.kind {
        ServiceType::LoadBalancer => "LoadBalancer",
        ServiceType::NodePort => "NodePort",
        ServiceType::ClusterIp => "ClusterIP",
    };
    let policy = service.external_traffic_policy.map(|policy| match policy {
        ExternalTrafficPolicy::Cluster => "Cluster",
        ExternalTrafficPolicy::Local => "Local",
    });
    let mut annotations = service.annotations;
    annotations.insert(OWNER_NAME.to_owned(), owner.to_string());
    let labels = [
        ("app.kubernetes.io/managed-by", "lastcall".to_owned()),
        (OWNER, name(owner)),
    ];
    Service {
        metadata: ObjectMeta {
            name: Some(name(owner)),
            namespace: Some(template.namespace.clone()),
            annotations: Some(annotations),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            selector: Some(template.selector.clone()),
            ports: Some(service_ports),
            load_balancer_class: service.load_balancer_class,
            external_traffic_policy: policy.map(str::to_owned),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Whose Service it is, if it is one of ours.
pub(super) fn owner(service: &Service) -> Option<ObjectName> {
    service.metadata.labels.as_ref()?.get(OWNER)?;
    let name = service.metadata.annotations.as_ref()?.get(OWNER_NAME)?;
    let (namespace, name) = name.split_once('/')?;
    Some(ObjectName::new(namespace, name))
}

/// The container ports that a Service of ours records.
pub(super) fn recorded(service: &Service) -> Vec<(ListenerPort, u16)> {
    let Some(owner) = owner(service) else {
        return Vec::new();
    };
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let Some(IntOrString::Int(target)) = port.target_port else {
                return None;
            };
            let listener = u16::try_from(port.port).ok()?;
            Some(((owner.clone(), listener), u16::try_from(target).ok()?))
        })
        .collect()
}

/// Whether the Service already is as it is wanted. What others added (a nodePort, an address, a label of a
/// cloud) is theirs.
pub(super) fn is_as_wanted(there: &Service, wanted: &Service) -> bool {
    let has_all = |there: &Option<BTreeMap<String, String>>,
                   wanted: &Option<BTreeMap<String, String>>| {
        wanted
            .iter()
            .flatten()
            .all(|(key, value)| there.as_ref().and_then(|all| all.get(key)) == Some(value))
    };
    let (Some(is), Some(should)) = (&there.spec, &wanted.spec) else {
        return false;
    };
    let ports = |spec: &ServiceSpec| -> Vec<_> {
        let ports = spec.ports.iter().flatten();
        ports
            .map(|port| (port.name.clone(), port.port, port.target_port.clone()))
            .collect()
    };
    let policy = should.external_traffic_policy.is_none()
        || is.external_traffic_policy == should.external_traffic_policy;
    has_all(&there.metadata.labels, &wanted.metadata.labels)
        && has_all(&there.metadata.annotations, &wanted.metadata.annotations)
        && is.type_ == should.type_
        && is.selector == should.selector
        && (should.load_balancer_class.is_none()
            || is.load_balancer_class == should.load_balancer_class)
        && policy
        && ports(is) == ports(should)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> LoadBalancer {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "lastcall.dev/v1alpha1",
            "kind": "LoadBalancer",
            "metadata": {"name": "shop", "namespace": "prod"},
            "spec": {
                "listeners": [
                    {"name": "http", "port": 80, "protocol": "HTTP"},
                    {"name": "late", "port": 81, "protocol": "HTTP"},
                ],
                "service": {"type": "NodePort", "annotations": {"a.example.com/b": "c"}},
            },
        }))
        .unwrap()
    }

    fn template() -> Template {
        Template {
            namespace: "lastcall".to_owned(),
            selector: [("app".to_owned(), "lastcall".to_owned())].into(),
        }
    }

    #[test]
    fn it_leads_to_the_allotted_ports_and_records_them() {
        let owner = ObjectName::new("prod", "shop");
        let ports: Allotment = [((owner.clone(), 80), 20_003)].into();
        let service = wanted(&owner, &object(), &ports, &template());
        assert_eq!(super::owner(&service), Some(owner.clone()));
        // A listener that binds nothing is not led to.
        assert_eq!(recorded(&service), [((owner.clone(), 80), 20_003)]);
        let spec = service.spec.as_ref().unwrap();
        assert_eq!(spec.type_.as_deref(), Some("NodePort"));
        assert_eq!(spec.selector.as_ref().unwrap()["app"], "lastcall");
        assert!(is_as_wanted(&service, &service));
        let mut moved = service.clone();
        moved.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].target_port =
            Some(IntOrString::Int(1));
        assert!(!is_as_wanted(&moved, &service));
        let mut more = service.clone();
        more.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].node_port = Some(30_000);
        more.metadata
            .labels
            .as_mut()
            .unwrap()
            .insert("cloud".to_owned(), "x".to_owned());
        assert!(is_as_wanted(&more, &service), "what others add is theirs");
    }

    #[test]
    fn names_fit_and_are_unique() {
        let name = |namespace: &str, of: &str| super::name(&ObjectName::new(namespace, of));
        assert_eq!(name("prod", "shop"), "lb-prod-shop");
        assert_ne!(name("a-b", "c"), name("a", "b-c"));
        assert_ne!(name("a", "b.c"), name("a", "b-c"));
        let long = name(&"n".repeat(63), &"x".repeat(253));
        assert!(long.len() <= 63 && long != name(&"n".repeat(63), &"x".repeat(252)));
    }
}
