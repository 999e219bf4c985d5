//! Whether Pod Security Admission would refuse a pod for a hook in `HTTPGet` mode (PITFALLS 31). Pure; asked
//! by whoever gives the webhook its [`super::PodFacts`].

use std::collections::BTreeMap;

/// The namespace's label with the profile that is enforced.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// The namespace's label with the version of the profile: `v1.34`, or `latest`, which is the default.
const ENFORCE_VERSION: &str = "pod-security.kubernetes.io/enforce-version";
/// The minor version of Kubernetes from which baseline and restricted forbid `lifecycle.*.httpGet.host`.
const FORBIDDEN_FROM: u32 = 34;

/// Whether a namespace with these labels refuses pods whose hooks name a host. Where no version is pinned it
/// is taken for one that does. What an API server enforces by its own configuration, without a label, cannot
/// be seen.
pub fn forbids_host(namespace_labels: &BTreeMap<String, String>) -> bool {
    let label = |key| namespace_labels.get(key).map(String::as_str);
    let pinned = label(ENFORCE_VERSION).and_then(|version| version.strip_prefix("v1."));
    let minor: Option<u32> = pinned.and_then(|minor| minor.parse().ok());
    let newer = minor.is_none_or(|minor| minor >= FORBIDDEN_FROM);
    newer && matches!(label(ENFORCE), Some("baseline" | "restricted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baseline_and_restricted_forbid_it_from_their_version_of_1_34() {
        for (profile, version, forbids) in [
            (None, None, false),
            (Some("privileged"), None, false),
            (Some("baseline"), None, true),
            (Some("restricted"), None, true),
            (Some("restricted"), Some("latest"), true),
            (Some("restricted"), Some("v1.33"), false),
            (Some("baseline"), Some("v1.34"), true),
            (None, Some("v1.34"), false),
        ] {
            let labels = [(ENFORCE, profile), (ENFORCE_VERSION, version)];
            let labels = labels
                .into_iter()
                .filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())));
            let told = format!("{profile:?} {version:?}");
            assert_eq!(forbids_host(&labels.collect()), forbids, "{told}");
        }
    }
}
