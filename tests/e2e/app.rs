//! An app behind lastcall in a namespace of its own: deployed, under load, and judged at the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{LIMIT, Namespace, object, text, wait_until};
use crate::collector::Collector;
use crate::flow::{Steady, mixed, with_long_streams};
use crate::installation::Installed;
use crate::judge::Judge;
use crate::objects::{Made, Wanted, balancing, deployment, service};

/// Requests a second.
const RATE: f64 = 40.0;
/// The longest of most requests.
const SLOW: Duration = Duration::from_secs(3);
/// The longest of all.
const STREAM: Duration = Duration::from_secs(15);

/// An app that is deployed.
pub struct App<'a> {
    /// Its namespace.
    pub space: Namespace,
    /// What its pods did.
    pub collector: Collector,
    /// Where clients reach it, once [`App::reach`] has waited for that.
    address: Option<SocketAddr>,
    /// What its pods belong to, as kubectl names it.
    pub workload: &'static str,
    installed: &'a Installed,
}

impl<'a> App<'a> {
    /// Deploys the app in a namespace of that purpose, behind lastcall, and waits until it is served.
    #[track_caller]
    pub fn deploy(installed: &'a Installed, purpose: &str, wanted: &Wanted) -> Self {
        let space = Namespace::new(purpose, &["lastcall.dev/drain=enabled"]);
        let mut app = Self::prepare(installed, space);
        app.apply(wanted);
        app.reach();
        app
    }

    /// A place for an app; nothing is deployed.
    pub fn prepare(installed: &'a Installed, space: Namespace) -> Self {
        Self {
            space,
            collector: Collector::start(),
            address: None,
            workload: "deployment/app",
            installed,
        }
    }

    /// Applies the app and what makes lastcall serve it, in one go.
    #[track_caller]
    pub fn apply(&self, wanted: &Wanted) {
        let app = self.with_made(|made| deployment(wanted, made));
        let parts = [balancing(wanted), service().to_owned(), app];
        self.space.apply(&parts.join("---\n"));
    }

    /// Makes YAML that names the image and the record's place.
    pub fn with_made(&self, make: impl FnOnce(&Made) -> String) -> String {
        make(&Made {
            image: &self.installed.image,
            pull: self.installed.pull(),
            record: &self.collector.place(),
        })
    }

    /// Waits until all pods are ready and the LoadBalancer's address answers from the app.
    #[track_caller]
    pub fn reach(&mut self) -> SocketAddr {
        self.rolled_out();
        let address = wait_until("the LoadBalancer's address", LIMIT, || {
            let found = object(&self.space.name, &["loadbalancer", "app"])?;
            let address = text(&found, "/status/addresses/0/value");
            address.parse().map_err(|_| format!("{}", found["status"]))
        });
        let address = SocketAddr::new(address, 80);
        wait_until("an answer through lastcall", LIMIT, || answers(address));
        self.address = Some(address);
        address
    }

    /// Waits until `kubectl rollout status` says that all is as it shall be.
    #[track_caller]
    pub fn rolled_out(&self) {
        let status = ["rollout", "status", self.workload, "--timeout=180s"];
        self.space.kubectl(&status);
    }

    /// Load of all kinds, until it is ended: quick requests, some of up to 3 s, uploads, streams of 15 s.
    #[track_caller]
    pub fn load(&self) -> Steady {
        let target = self.address.expect("reach() comes first");
        let load = Steady::start(target, |seed| {
            let plan = mixed(seed, RATE, Duration::from_secs(5), SLOW);
            with_long_streams(plan, 4, STREAM)
        });
        load.wait_for_more(80);
        load
    }

    /// Where clients reach it.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("reach() comes first")
    }

    /// Its pods, those that are ending among them.
    #[track_caller]
    pub fn pods(&self) -> Vec<Value> {
        self.space.pods("app=app")
    }

    /// The names of its pods that nobody has asked to end.
    #[track_caller]
    pub fn staying(&self) -> Vec<String> {
        staying(&self.pods())
    }

    /// Waits until there are just so many pods, none of them ending.
    #[track_caller]
    pub fn settle(&self, count: usize) {
        wait_until("the pods that shall be there", LIMIT, || {
            let pods = self.pods();
            let (all, staying) = (pods.len(), staying(&pods).len());
            (all == count && staying == count)
                .then_some(())
                .ok_or((all, staying))
        });
    }

    /// What the apps' records and lastcall's log say.
    #[track_caller]
    pub fn judge(&self) -> Judge {
        Judge::new(self.collector.lives(), self.installed.log())
    }
}

/// The names of those that nobody has asked to end.
fn staying(pods: &[Value]) -> Vec<String> {
    pods.iter()
        .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
        .map(|pod| text(pod, "/metadata/name").to_owned())
        .collect()
}

/// Whether a request is answered with 200.
fn answers(address: SocketAddr) -> Result<(), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream
            .write_all(b"GET /answer?bytes=1 HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(answer)
    }
}
