//! Where objects come from: a folder of YAML files here; a Kubernetes API server beside it.
//!
//! [`door`] is what every object from a file passes, with the same schema and the same rules as the API
//! server's (Law 4). [`directory`] reads and watches the folder; `app` passes what it publishes to `plan`.

pub mod directory;
pub mod door;
pub mod error;
mod files;
mod schema;
mod watching;
mod yaml;

pub use directory::{Directory, Loaded};
pub use error::{FileError, SourceError};
pub use files::Origin;
