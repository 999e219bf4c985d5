//! The HTTP/1 codec: tables of strange messages, random messages at every cut, and the judgement of
//! other people's parsers. No sockets of our own.

mod allocations;
#[path = "../proxy/cases/mod.rs"]
mod cases;
mod cuts;
mod generate;
mod judges;
mod neighbours;
mod reading;
mod tables;
