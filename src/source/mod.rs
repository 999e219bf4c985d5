//! Where objects come from: a folder of YAML files, or a Kubernetes API server.
//!
//! [`door`] is what every object from a file passes, with the same schema and the same rules as the API
//! server's (Law 4). [`directory`] reads and watches the folder, [`kubernetes`] the API server; `app` passes
//! what they publish to `plan`.

pub mod directory;
pub mod door;
pub mod error;
mod files;
mod folders;
pub mod kubernetes;
mod schema;
pub mod tokens;
mod watching;
mod yaml;

pub use directory::{Directory, Loaded};
pub use error::{FileError, SourceError};
pub use files::{Files, Origin};
pub use kubernetes::{Kubernetes, Observed};
