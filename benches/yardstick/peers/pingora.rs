//! Pingora: a library, so a small proxy around it, which benches/pingora is.

use super::{Launch, Part, Setting, built, told};
use crate::work::{Speaks, Work};

const PROGRAM: &str = "pingora/release/pingora-peer";

pub fn version() -> anyhow::Result<String> {
    told(&built(PROGRAM)?, "version")
}

pub fn part(work: &Work) -> Part {
    if work.speaks == Speaks::Tcp {
        return Part::LeftOut(
            "its library proxies HTTP; for TCP it lends sockets, and the rest would be ours",
        );
    }
    Part::Takes
}

pub fn configure(setting: &Setting<'_>) -> anyhow::Result<Launch> {
    let speaks = match setting.work.speaks {
        Speaks::Http | Speaks::Tcp => "http",
        Speaks::Https => "https",
        Speaks::Http2 => "http2",
        Speaks::Grpc => "grpc",
    };
    let (address, backend) = (setting.address.to_string(), setting.backend.to_string());
    let workers = setting.workers.to_string();
    let (chain, key) = (&setting.certificate.chain, &setting.certificate.key);
    let args = [speaks, &address, &backend, &workers, chain, key];
    Ok(Launch::new(built(PROGRAM)?, &args))
}
