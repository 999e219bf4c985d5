//! What HTTP/2 costs at least: a proxy of a hundred lines around a library, without routes, gates and
//! counters. benches/floor is the program.

use super::{Launch, Library, Setting, built, told};
use crate::work::Speaks;

const PROGRAM: &str = "floor/release/floor";

pub fn version(library: Library) -> anyhow::Result<String> {
    let libraries = told(&built(PROGRAM)?, "version")?;
    let wanted = name(library);
    let found = libraries
        .split(", ")
        .find(|one| one.starts_with(&format!("{wanted} ")));
    Ok(found.unwrap_or(wanted).to_owned())
}

pub fn configure(setting: &Setting<'_>, library: Library) -> anyhow::Result<Launch> {
    let (address, backend) = (setting.address.to_string(), setting.backend.to_string());
    let way = match setting.work.speaks {
        Speaks::Grpc => "grpc",
        _ => name(library),
    };
    Ok(Launch::new(built(PROGRAM)?, &[way, &address, &backend]))
}

fn name(library: Library) -> &'static str {
    match library {
        Library::H2 => "h2",
        Library::Hyper => "hyper",
    }
}
