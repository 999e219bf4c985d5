//! Secrets without a cluster: beside the objects' files a folder for each, named as objects name it, with a
//! file for each key, as Kubernetes mounts a Secret. Only what an object names is read. Called by `directory`.
//!
//! There is one folder of configuration and one owner of it, so the namespaces of its objects share them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::ResourceExt;
use zeroize::Zeroizing;

use crate::model::ObjectName;
use crate::plan::tls::{CA, CERTIFICATE, KEY, Secret};
use crate::plan::{Objects, Secrets};

/// A larger file is refused: it is no certificate. What a Secret may hold in all.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The files of a Secret.
pub(super) const FILES: [&str; 3] = [CERTIFICATE, KEY, CA];

/// What a file holds, or why that is not known.
type Content = Result<Zeroizing<Vec<u8>>, String>;

/// The files of each Secret, as they were read.
pub(super) type Contents = BTreeMap<ObjectName, [Content; 3]>;

/// The Secrets that the objects name.
pub(super) fn named(objects: &Objects) -> BTreeSet<ObjectName> {
    let mut names = BTreeSet::new();
    for object in &objects.load_balancers {
        let listeners = object.spec.listeners.iter();
        for tls in listeners.filter_map(|listener| listener.tls.as_ref()) {
            let references = tls.certificate_refs.iter().chain(&tls.client_ca_ref);
            names.extend(references.map(|reference| name(object, &reference.name)));
        }
    }
    for object in &objects.backends {
        let reference = object.spec.tls.as_ref().and_then(|tls| tls.ca_ref.as_ref());
        names.extend(reference.map(|reference| name(object, &reference.name)));
    }
    names
}

fn name(object: &impl ResourceExt, name: &str) -> ObjectName {
    let namespace = object.namespace();
    ObjectName::new(namespace.as_deref().unwrap_or("default"), name)
}

/// Where the files of these Secrets are.
pub(super) fn places(folder: &Path, names: &BTreeSet<ObjectName>) -> Vec<PathBuf> {
    let places: BTreeSet<PathBuf> = names.iter().map(|name| folder.join(&*name.name)).collect();
    places.into_iter().collect()
}

/// Reads the files of these Secrets. A Secret whose folder is not there is left out.
pub(super) fn read(folder: &Path, names: &BTreeSet<ObjectName>) -> Contents {
    let mut contents = Contents::new();
    for name in names {
        let place = folder.join(&*name.name);
        if place.is_dir() {
            contents.insert(name.clone(), FILES.map(|file| read_file(&place.join(file))));
        }
    }
    contents
}

fn read_file(path: &Path) -> Content {
    let read = || -> io::Result<Content> {
        if fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Ok(Err(format!(
                "is too large; allowed: {MAX_FILE_BYTES} bytes"
            )));
        }
        let mut content = Zeroizing::new(Vec::new());
        File::open(path)?
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut content)?;
        Ok(Ok(content))
    };
    match read() {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("is missing".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// The Secrets in these files.
pub(super) fn understand(contents: &Contents) -> Secrets {
    let secret = |(name, files): (&ObjectName, &[Content; 3])| {
        let secret = Secret::read(&name.name, |key| {
            let at = FILES.iter().position(|file| *file == key);
            match at.map(|at| &files[at]) {
                Some(Ok(content)) => Ok(content.as_slice()),
                Some(Err(why)) => Err(why.clone()),
                None => Err("is missing".to_owned()),
            }
        });
        (name.clone(), Arc::new(secret))
    };
    contents.iter().map(secret).collect()
}
