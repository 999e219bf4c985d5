//! The HTTP/1 codec: tables of strange messages, random messages at every cut, and the judgement of
//! other people's parsers. No sockets.

#[path = "../proxy/cases/mod.rs"]
mod cases;
mod reading;
mod tables;
