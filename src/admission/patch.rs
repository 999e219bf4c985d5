//! The JSON patch (RFC 6902) that makes one pod of another. Pure; called by [`super::review`].

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

/// Why there is no patch. Ours to mend: the pod is admitted as it was.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// A pod could not be written as JSON, or read back.
    #[error("the pod cannot be written or read as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The patch does not apply to the pod as the API server sent it.
    #[error("the patch does not apply: {0}")]
    Apply(#[from] json_patch::PatchError),
    /// The patch makes another pod than it should.
    #[error("the patch would make another pod than was meant")]
    Differs,
}

/// The patch that turns `before` into `after`, for the object as the API server sent it.
///
/// `sent` may have fields of a newer Kubernetes that our types do not know: the patch is made between two
/// pods as we know them, so it leaves those alone, and it is tried on what was sent before it is given out.
pub fn between(sent: &Value, before: &Pod, after: &Pod) -> Result<Patch, PatchError> {
    let patch = json_patch::diff(
        &serde_json::to_value(before)?,
        &serde_json::to_value(after)?,
    );
    let mut tried = sent.clone();
    json_patch::patch(&mut tried, &patch)?;
    if serde_json::from_value::<Pod>(tried)? == *after {
        Ok(patch)
    } else {
        Err(PatchError::Differs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_that_we_do_not_know_stays() {
        let sent = json!({"metadata": {"name": "a", "newField": 1}, "spec": {"newer": {"x": []},
            "containers": [{"name": "a", "future": true}]}});
        let before: Pod = serde_json::from_value(sent.clone()).unwrap();
        let mut after = before.clone();
        after.spec.as_mut().unwrap().containers[0].image = Some("b".to_owned());
        let patch = between(&sent, &before, &after).unwrap();
        let mut patched = sent.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        let mut expected = sent;
        expected["spec"]["containers"][0]["image"] = json!("b");
        assert_eq!(patched, expected);
    }

    #[test]
    fn a_null_in_place_of_a_list_can_be_filled() {
        let sent =
            json!({"metadata": {"annotations": null}, "spec": {"containers": [], "volumes": null}});
        let before: Pod = serde_json::from_value(sent.clone()).unwrap();
        let mut after = before.clone();
        after.spec.as_mut().unwrap().volumes = Some(vec![]);
        after.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        let patch = between(&sent, &before, &after).unwrap();
        assert_eq!(patch.0.len(), 2);
    }

    #[test]
    fn a_patch_that_would_make_something_else_is_not_given_out() {
        let sent = json!({"metadata": {"name": "other"}});
        let before: Pod = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        let mut after = before.clone();
        after.metadata.namespace = Some("b".to_owned());
        let error = between(&sent, &before, &after).unwrap_err();
        assert!(matches!(error, PatchError::Differs), "{error}");
    }
}
