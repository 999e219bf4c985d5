//! The watches themselves: one for each kind and scope, each an endless stream of steps that survives every
//! error. Called by the source's task.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, Resource};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Config};
use serde::de::DeserializeOwned;

use super::kept::Change;
use super::trim;
use super::view::Seen;

/// A watch is asked for anew after this long, so a connection that died without a word is noticed.
const WATCH_SECONDS: u32 = 60;
/// Of the Secrets those that hold certificates: what else is secret is not even asked for.
const TLS_SECRETS: &str = "type=kubernetes.io/tls";
/// No answer of the API server is silent for longer: a watch ends before.
const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// A client whose connections cannot hang for ever: one that died without a word fails and is made anew.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.read_timeout = Some(READ_TIMEOUT);
    // The time that a kept connection was idle is not the server's.
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

/// Everything that is watched, of all namespaces where none is named; Secrets where `secrets` says so.
pub(super) fn all(
    client: &Client,
    namespaces: &[String],
    secrets: bool,
) -> SelectAll<BoxStream<'static, Seen>> {
    let mut streams = SelectAll::new();
    let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|own| Some(own.as_str())).collect()
    };
    for (scope, namespace) in scopes.into_iter().enumerate() {
        let place = Place { client, namespace };
        streams.push(place.guarded(trim::load_balancer, move |c| Seen::LoadBalancer(scope, c)));
        streams.push(place.guarded(trim::backend, move |c| Seen::Backend(scope, c)));
        streams.push(place.plain(trim::service, move |c| Seen::Service(scope, c)));
        streams.push(place.plain(trim::slice, move |c| Seen::Slice(scope, c)));
        streams.push(place.plain(trim::pod, move |c| Seen::Pod(scope, c)));
        if secrets {
            streams.push(selected(
                place.api::<core::Secret>(),
                Some(TLS_SECRETS),
                |secret| Ok(trim::secret(secret)),
                move |c| Seen::Secret(scope, c),
            ));
        }
    }
    streams.push(steps(
        Api::<core::Node>::all(client.clone()),
        |node| Ok(trim::node(&node)),
        Seen::Node,
    ));
    streams
}

/// How many scopes [`all`] counts.
pub(super) fn scopes(namespaces: &[String]) -> usize {
    namespaces.len().max(1)
}

/// Where objects are looked for.
#[derive(Clone, Copy)]
struct Place<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
}

impl Place<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Kinds that the API server itself defines and checks: what it sends can be read.
    fn plain<K, T>(
        &self,
        trim: fn(K) -> T,
        seen: impl Fn(Change<T>) -> Seen + Send + 'static,
    ) -> BoxStream<'static, Seen>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        T: Send + 'static,
    {
        steps(self.api::<K>(), move |object| Ok(trim(object)), seen)
    }

    /// Kinds of ours, whose schema in the cluster may be another version's: one object that cannot be read
    /// must not take the others away (Law 4).
    fn guarded<K, T>(
        &self,
        trim: fn(K) -> T,
        seen: impl Fn(Change<T>) -> Seen + Send + 'static,
    ) -> BoxStream<'static, Seen>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        T: Send + 'static,
    {
        let read = move |DeserializeGuard(object): DeserializeGuard<K>| {
            object.map(trim).map_err(|invalid| invalid.error)
        };
        steps(self.api::<DeserializeGuard<K>>(), read, seen)
    }
}

/// The watch of one kind. It logs when it fails and when it is back; what is known stays known (Law 3).
fn steps<K, T>(
    api: Api<K>,
    read: impl Fn(K) -> Result<T, String> + Send + 'static,
    seen: impl Fn(Change<T>) -> Seen + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    selected(api, None, read, seen)
}

/// The same, of the objects that a field selector finds.
fn selected<K, T>(
    api: Api<K>,
    fields: Option<&str>,
    read: impl Fn(K) -> Result<T, String> + Send + 'static,
    seen: impl Fn(Change<T>) -> Seen + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    config.field_selector = fields.map(str::to_owned);
    let mut trouble = Trouble {
        kind: K::kind(&()).into_owned(),
        failing: false,
    };
    watch(api, config)
        .backoff(Sooner(DefaultBackoff::default()))
        .filter_map(move |step| {
            let known = trouble.hear(step).map(|event| change(event, &read));
            std::future::ready(known)
        })
        .map(seen)
        .boxed()
}

fn change<K: Resource<DynamicType = ()>, T>(
    event: Event<K>,
    read: &impl Fn(K) -> Result<T, String>,
) -> Change<T> {
    match event {
        Event::Init => Change::Began,
        Event::InitDone => Change::Complete,
        Event::InitApply(object) => Change::Listed(trim::name_of(object.meta()), read(object)),
        Event::Apply(object) => Change::Put(trim::name_of(object.meta()), read(object)),
        Event::Delete(object) => Change::Gone(trim::name_of(object.meta())),
    }
}

/// Says once that a watch fails, and once that it is back.
struct Trouble {
    kind: String,
    failing: bool,
}

impl Trouble {
    fn hear<K>(&mut self, step: watcher::Result<Event<K>>) -> Option<Event<K>> {
        match step {
            // The attempt to list, before any answer.
            Ok(Event::Init) => Some(Event::Init),
            Ok(event) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(kind = %self.kind, "watch is back");
                }
                Some(event)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(kind = %self.kind, %error, "watch failed: going on with what is known");
                }
                None
            }
        }
    }
}

/// The usual pauses between attempts, a sixth as long: from 0.13 s to 5 s, with the same jitter. While the
/// API server is away drains go on by what was known, so it is asked again soon; a replica has some ten
/// watches, not a node's hundreds.
struct Sooner(DefaultBackoff);

impl Iterator for Sooner {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause / 6)
    }
}

impl Backoff for Sooner {
    fn reset(&mut self) {
        self.0.reset();
    }
}
