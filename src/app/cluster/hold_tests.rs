//! `lastcall-hold` as it runs in a pod, against the hook server behind its TLS port, over loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lastcall_hold::pod::{HookService, Pod, Service};
use lastcall_hold::wire::Cause;
use lastcall_hold::{Options, Outcome};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::data_plane::NoCluster;
use crate::drain::hook::{self, Caller, Found, Named, Refusal};
use crate::drain::{Coordinator, DataPlane, Published};
use crate::gate::Generation;
use crate::model::EndpointId;
use crate::model::grace::PodLife;
use crate::tls_port;

/// The Service's name, as it stands in the certificate.
const NAME: &str = "lastcall-hook.lastcall.svc";
const TOKEN: &str = "the-pods-token";

/// A data plane that does nothing.
pub(super) struct Idle;

impl DataPlane for Idle {
    fn publish(&self, _: Published) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
    fn closed(&self, _: &EndpointId) {}
    fn cut(&self, _: &EndpointId, _: Generation) {}
}

/// A cluster of one pod, and how often somebody showed a token.
struct OnePod {
    asked: AtomicU32,
    changes: watch::Sender<u64>,
}

impl hook::Cluster for OnePod {
    fn caller<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Refusal>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let said = if token == TOKEN {
            Ok(Caller {
                namespace: "shop".to_owned(),
                pod: "web-1".to_owned(),
                uid: "uid-1".into(),
            })
        } else {
            Err(Refusal::BadToken("signature".to_owned()))
        };
        Box::pin(std::future::ready(said))
    }
    fn life<'a>(&'a self, _: &'a Caller, _: &'a str) -> BoxFuture<'a, PodLife> {
        Box::pin(std::future::ready(PodLife::default()))
    }
    fn last_heard(&self, _: &Caller) -> Option<PodLife> {
        None
    }
    fn named<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Found> {
        Box::pin(std::future::ready(Found::default()))
    }
    fn named_as_seen(&self, _: &str, _: &str) -> Vec<Named> {
        Vec::new()
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A hook server that runs.
struct Running {
    port: u16,
    /// The certificate that it shows, and its own authority.
    certificate: String,
    cluster: Arc<OnePod>,
    token: tempfile::NamedTempFile,
}

fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn running(token: &str) -> Running {
    let (coordinator, draining) =
        Coordinator::new(1, Arc::new(Idle), Arc::new(NoCluster), Arc::new(|_| ()));
    tokio::spawn(coordinator.run());
    let cluster = Arc::new(OnePod {
        asked: AtomicU32::new(0),
        changes: watch::channel(0).0,
    });
    let router = hook::router(hook::Parts {
        draining,
        cluster: Arc::clone(&cluster) as _,
        node_shutdown: Duration::from_secs(20),
        calls: hook::Calls::default(),
        peer_ready: watch::channel(false).1,
    });
    let (certificate, key) = certificate();
    let shown = tls_port::certified_key(&certificate, &key).unwrap();
    let tls = tls_port::server_config(watch::channel(Arc::new(shown)).1).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = tls_port::Limits::default();
    let forever = std::future::pending();
    tokio::spawn(tls_port::serve(listener, tls, router, limits, forever));
    let shown = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(shown.path(), token).unwrap();
    Running {
        port,
        certificate,
        cluster,
        token: shown,
    }
}

impl Running {
    /// The hold of a pod that believes this authority, and that has this long to live.
    async fn hold(&self, authority: String, grace: Duration) -> Outcome {
        let pod = Pod {
            container: "app".to_owned(),
            service: Service::Given(HookService {
                name: NAME.to_owned(),
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: self.port,
                ca: authority,
            }),
            token: PathBuf::from(self.token.path()),
        };
        let options = Options {
            grace: Some(grace),
            ..Options::in_pod(pod)
        };
        tokio::task::spawn_blocking(move || lastcall_hold::run(&options, &mut |_| ()))
            .await
            .unwrap()
    }

    fn asked(&self) -> u32 {
        self.cluster.asked.load(Ordering::Relaxed)
    }
}

/// So long that it is not what ends a hold.
const LONG: Duration = Duration::from_mins(1);
/// The whole life of a pod that nobody lets go.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_let_go_by_the_hook_server_that_its_authority_vouches_for() {
    let server = running(TOKEN).await;
    let outcome = server.hold(server.certificate.clone(), LONG).await;
    let Outcome::Released { cause, cut, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((cause, cut), (Cause::Drained, 0));
    assert_eq!(server.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_who_cannot_prove_to_be_the_hook_server_lets_nobody_go_and_is_shown_no_token() {
    let server = running(TOKEN).await;
    let outcome = server.hold(certificate().0, SHORT).await;
    assert!(matches!(outcome, Outcome::GaveUp { .. }), "{outcome:?}");
    assert_eq!(server.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_a_pod_whose_token_is_refused_asks_again_until_its_own_deadline() {
    let server = running("another-token").await;
    let outcome = server.hold(server.certificate.clone(), SHORT).await;
    assert!(matches!(outcome, Outcome::GaveUp { .. }), "{outcome:?}");
    assert!(server.asked() > 1);
}
