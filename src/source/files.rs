//! A folder's files as bytes, and bytes as objects. Reading is apart from understanding, so that the
//! second is a pure function and an unchanged folder costs a comparison only. Called by `directory`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kube::ResourceExt;

use super::door::{Admitted, Door};
use super::error::{FileError, SourceError};
use super::yaml;
use crate::model::ObjectName;
use crate::plan::{Kind, ObjectRef, Objects};

/// A larger file is refused: it is no configuration.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The folder's files and what is in them, sorted by name.
pub type Files = Vec<(PathBuf, Vec<u8>)>;

/// Where an object is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The line its document begins at, counted from 1.
    pub line: usize,
}

/// What a folder's files say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Understood {
    pub objects: Objects,
    pub origins: BTreeMap<ObjectRef, Origin>,
}

/// Reads all `*.yaml` and `*.yml` of a folder: no hidden ones, no sub-folders; links are followed, as
/// Kubernetes mounts ConfigMaps by links.
pub(super) fn read(folder: &Path) -> Result<Files, SourceError> {
    let listing = |error: io::Error| {
        let message = format!("cannot be read: {error}; needed: a folder of .yaml files");
        one(FileError::whole(folder, message))
    };
    let mut files = Files::new();
    let mut errors = Vec::new();
    for entry in fs::read_dir(folder).map_err(listing)? {
        let path = entry.map_err(listing)?.path();
        if !is_ours(&path) {
            continue;
        }
        match read_file(&path) {
            Ok(Some(bytes)) => files.push((path, bytes)),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    files.sort();
    if files.is_empty() && errors.is_empty() {
        let message = "holds no .yaml or .yml file; needed: at least one LoadBalancer or Backend";
        errors.push(FileError::whole(folder, message));
    }
    if errors.is_empty() {
        Ok(files)
    } else {
        errors.sort_by(|a, b| a.file.cmp(&b.file));
        Err(SourceError { errors })
    }
}

fn one(error: FileError) -> SourceError {
    SourceError {
        errors: vec![error],
    }
}

/// By its name: the extension, and not hidden (editors and Kubernetes hide what is not meant).
pub(super) fn is_ours(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml"))
}

/// `None` for a folder that is named like a file.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let fail = |error: io::Error| FileError::whole(path, format!("cannot be read: {error}"));
    let metadata = fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > MAX_FILE_BYTES {
        let message = format!(
            "{} bytes; allowed: at most {MAX_FILE_BYTES}",
            metadata.len()
        );
        return Err(FileError::whole(path, message));
    }
    fs::read(path).map(Some).map_err(fail)
}

/// Reads the objects out of the files; all faults of all files are reported together.
pub(super) fn understand(door: &Door, files: &Files) -> Result<Understood, SourceError> {
    let mut reader = Reader {
        door,
        understood: Understood::default(),
        errors: Vec::new(),
    };
    for (path, bytes) in files {
        reader.file(path, bytes);
    }
    if reader.errors.is_empty() {
        // In an order that does not depend on which file an object is in.
        let objects = &mut reader.understood.objects;
        objects.load_balancers.sort_by_cached_key(key);
        objects.backends.sort_by_cached_key(key);
        Ok(reader.understood)
    } else {
        Err(SourceError {
            errors: reader.errors,
        })
    }
}

fn key(object: &impl ResourceExt) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

struct Reader<'a> {
    door: &'a Door,
    understood: Understood,
    errors: Vec<FileError>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.errors
                .push(FileError::whole(path, "not YAML: not UTF-8 text"));
            return;
        };
        let documents = match yaml::parse(text) {
            Ok(documents) => documents,
            Err(error) => {
                self.fail(path, error.line, String::new(), error.message);
                return;
            }
        };
        if documents.is_empty() {
            // An editor's or a copy's truncated file is empty for a moment. Were that taken for "no
            // objects", every reload could take a LoadBalancer away.
            let message = "holds no object; write one, or delete the file";
            self.errors.push(FileError::whole(path, message));
        }
        for document in documents {
            match self.door.admit(&document) {
                Ok(admitted) => self.keep(path, document.line, admitted),
                Err(violations) => {
                    for violation in violations {
                        self.fail(path, violation.line, violation.field, violation.message);
                    }
                }
            }
        }
    }

    fn keep(&mut self, path: &Path, line: usize, admitted: Admitted) {
        let (kind, name, namespace) = match &admitted {
            Admitted::LoadBalancer(lb) => (Kind::LoadBalancer, lb.name_any(), lb.namespace()),
            Admitted::Backend(be) => (Kind::Backend, be.name_any(), be.namespace()),
        };
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let object = ObjectRef {
            kind,
            name: ObjectName::new(&namespace, &name),
        };
        if let Some(first) = self.understood.origins.get(&object) {
            let message = format!(
                "{object} is here twice; the first is at {}:{}",
                first.file.display(),
                first.line
            );
            self.fail(path, line, "metadata.name".to_owned(), message);
            return;
        }
        let file = path.to_owned();
        self.understood
            .origins
            .insert(object, Origin { file, line });
        match admitted {
            Admitted::LoadBalancer(lb) => self.understood.objects.load_balancers.push(*lb),
            Admitted::Backend(be) => self.understood.objects.backends.push(*be),
        }
    }

    fn fail(&mut self, path: &Path, line: usize, field: String, message: String) {
        self.errors.push(FileError {
            file: path.to_owned(),
            line: Some(line),
            field,
            message,
        });
    }
}
