//! When the certificates that are served expire, for alerts. Called by `metrics`.

use super::exposition::{Families, float};
use crate::model::Snapshot;

/// One gauge for each certificate of each listener.
pub(super) fn expiry(families: &mut Families, snapshot: &Snapshot) {
    let mut family = families.gauge(
        "lastcall_certificate_expiry_timestamp_seconds",
        "When a certificate that a listener shows expires, seconds since 1970",
    );
    for load_balancer in &snapshot.load_balancers {
        let name = load_balancer.name.to_string();
        for listener in &load_balancer.listeners {
            for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
                let labels = [
                    ("load_balancer", &*name),
                    ("listener", &*listener.name),
                    ("certificate", &*certificate.name),
                ];
                // One from before 1970 has expired whatever is said.
                let expires = u64::try_from(certificate.not_after).unwrap_or(0);
                family.put(&labels, float(expires));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use crate::model::tls::{Certificate, KeyFormat, ListenerTls, PrivateKey, TlsVersion};
    use crate::model::{Listener, LoadBalancer, ObjectName, Protocol, Snapshot};

    /// A listener with a certificate that expires when 2,000,000,000 seconds are over.
    pub(in crate::admin) fn with_a_certificate() -> Snapshot {
        let certificate = Certificate {
            name: "shop-tls".into(),
            chain: vec![],
            key: PrivateKey {
                format: KeyFormat::Pkcs8,
                der: Zeroizing::new(vec![]),
            },
            hosts: vec![],
            not_after: 2_000_000_000,
        };
        let tls = ListenerTls {
            certificates: vec![Arc::new(certificate)],
            client_ca: None,
            min_version: TlsVersion::V12,
        };
        let listener = Listener {
            name: "https".into(),
            port: 443,
            protocol: Protocol::Https,
            hostname: None,
            tls: Some(Arc::new(tls)),
            proxy_protocol: false,
        };
        let load_balancer = LoadBalancer {
            listeners: vec![listener],
            ..LoadBalancer::new(ObjectName::new("default", "shop"))
        };
        Snapshot {
            load_balancers: vec![load_balancer],
            backends: vec![],
        }
    }
}
