//! Routes at the API server's own door: its CEL reads our rules as the folder's door does.

use kube::api::PostParams;
use lastcall::api::LoadBalancer;
use serde_json::{Value, json};

use crate::run;
use crate::server::Server;
use crate::space::Space;

/// A LoadBalancer with one route, which has this beside a Backend.
fn with(extra: Value) -> LoadBalancer {
    let mut route = json!({"backends": [{"name": "web"}]});
    let Value::Object(fields) = extra else {
        panic!("fields of a route")
    };
    for (field, value) in fields {
        route[field] = value;
    }
    serde_json::from_value(json!({
        "apiVersion": "lastcall.dev/v1alpha1", "kind": "LoadBalancer", "metadata": {"name": "shop"},
        "spec": {"listeners": [{"name": "http", "port": 80}], "routes": [route]},
    }))
    .unwrap()
}

/// A route that sets this field of requests.
fn setting(name: &str) -> Value {
    json!({"filters": [{"requestHeaders": {"set": [{"name": name, "value": "1"}]}}]})
}

#[test]
fn routes_that_do_not_fit_are_refused_with_their_field() {
    let server = Server::shared();
    let _peace = server.peace.read();
    run(async {
        let space = Space::new(&server).await;
        let api = space.api::<LoadBalancer>();
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let replace = json!({"type": "ReplacePrefixMatch", "value": "/"});
        for good in [
            json!({"matches": [{"path": {"value": "/a"}, "method": "GET"}]}),
            json!({"matches": [{"path": {"type": "RegularExpression", "value": "(/a|/b//).*"}}]}),
            setting("X_Custom.Field"),
            json!({"filters": [{"rewrite": {"path": replace}}, {"rateLimit": {"requests": 1, "interval": "1h"}}]}),
            json!({"backends": [], "filters": [{"redirect": {"scheme": "https"}}]}),
        ] {
            let created = api.create(&dry, &with(good.clone())).await;
            assert!(created.is_ok(), "{good}: {created:?}");
        }
        for (bad, words) in [
            (
                json!({"matches": [{}]}),
                "spec.routes[0].matches[0]: Invalid value: a match needs at least one",
            ),
            (
                json!({"matches": [{"path": {"value": "a"}}]}),
                "value must begin with '/'",
            ),
            (
                json!({"matches": [{"path": {"type": "Exact", "value": "/a/../b"}}]}),
                "'..' segments",
            ),
            (
                json!({"matches": [{"headers": [{"name": "HOST", "value": "a"}]}]}),
                "use hostnames",
            ),
            (json!({"filters": [{}]}), "exactly one of requestHeaders"),
            (setting("Content-Length"), "must not touch this field"),
            (setting("transfer_ENCODING"), "must not touch this field"),
            (setting("X-Forwarded-Anything"), "must not touch this field"),
            (setting("A\r\nB"), "should match"),
            (
                json!({"filters": [{"redirect": {"scheme": "https"}}]}),
                "a route with a redirect has none",
            ),
            (
                json!({"filters": [{"rateLimit": {"requests": 1, "interval": "61m"}}]}),
                "at most 1h",
            ),
            (
                json!({"matches": [{"path": {"type": "Exact", "value": "/a"}}], "filters": [{"rewrite": {"path": replace}}]}),
                "needs matches by Prefix only",
            ),
        ] {
            let refused = api.create(&dry, &with(bad.clone())).await;
            let Err(kube::Error::Api(status)) = refused else {
                panic!("{bad}: {refused:?}")
            };
            assert_eq!(status.code, 422, "{bad}: {status:?}");
            assert!(status.message.contains(words), "{bad}: {}", status.message);
        }
    });
}
