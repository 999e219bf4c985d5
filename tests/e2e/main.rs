//! The whole way, on a real Kubernetes: lastcall by `helm install`, apps that exit at once on SIGTERM, open-loop load of
//! which three quarters are POSTs, and what `kubectl` does to pods. Judged by the clients' counts, by the
//! apps' own records of what was in flight when SIGTERM came, and by lastcall's log.
//!
//! `make e2e` brings a cluster up and runs them; with `KUBECONFIG` set they use the cluster it names, from a
//! machine that reaches pods and Services by their addresses. `LASTCALL_E2E_IMAGE` names an image that is there
//! already (and `LASTCALL_E2E_APP_IMAGE` one with this program as `/app`), `LASTCALL_E2E_ADDRESS` the address at which pods reach this process.

#[allow(dead_code)]
#[path = "../traffic/flow.rs"]
mod flow;
#[path = "../proxy/support/mod.rs"]
mod support;

mod app;
mod autoscaling;
mod broken;
mod clients;
mod cluster;
mod collector;
mod command;
mod control;
mod deadline;
mod external_metrics;
mod installation;
mod judge;
mod kinds;
mod latency;
mod leaving;
mod liveness;
mod manifests;
mod objects;
mod outage;
mod own_end;
mod protocols;
mod restricted;
mod rollout;
mod rollout_command;
mod scale;
mod shared_id;
mod single;
mod uninstall;
