//! A folder of YAML files as the source of objects, in standalone.
//!
//! The folder is taken as a whole or not at all: objects refer to each other over files, and half of a
//! change is a state nobody wrote. So a folder with a fault changes nothing that runs (Law 4); what
//! was taken last runs on, and the faults are published beside it. At the start there is nothing to run
//! on with, and a fault is an error.
//!
//! The work is done on a thread of its own: it is files and parsing, which neither the control plane's
//! runtime nor the workers should wait for.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{oneshot, watch};

use super::door::Door;
use super::error::{FileError, SourceError};
use super::files::{self, Files, Origin};
use super::folders::{self, Contents};
use super::watching::{Look, Means, Watching};
use crate::plan::{ObjectRef, Objects, Secrets};

/// A folder is read when nothing was written to it for this long, so that a copy of many files or an
/// editor's several steps are one reload.
const SETTLED: Duration = Duration::from_millis(50);
/// A folder that is written to without pause is read all the same after this long.
const SETTLED_AT_LAST: Duration = Duration::from_millis(500);

/// What a folder has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The objects to run: those of the last time the folder was without fault.
    pub objects: Arc<Objects>,
    /// Where each of them is written.
    pub origins: Arc<BTreeMap<ObjectRef, Origin>>,
    /// The Secrets that they name and that are there.
    pub secrets: Arc<Secrets>,
    /// Grows by one when the objects or the Secrets change; 1 at the start.
    pub revision: u64,
    /// When this revision was taken.
    pub loaded_at: SystemTime,
    /// Why the folder as it is now was not taken; empty where it is what runs.
    pub errors: Vec<FileError>,
}

pub(super) enum Message {
    /// Something may have been written.
    Changed,
    /// Read now, and answer when done.
    Reload(oneshot::Sender<Arc<Loaded>>),
    /// The [`Directory`] is gone.
    Stop,
}

/// A folder that is being watched, until this is dropped.
#[derive(Debug)]
pub struct Directory {
    messages: Sender<Message>,
    loaded: watch::Receiver<Arc<Loaded>>,
}

impl Directory {
    /// Reads the folder, strictly, and watches it from then on.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        Self::open_with(folder, Means::default())
    }

    fn open_with(folder: &Path, means: Means) -> Result<Self, SourceError> {
        let (messages, inbox) = mpsc::channel();
        let mut watching = Watching::new(folder, messages.clone(), means);
        watching.arm(&[]);
        let mut look = Look::at(folder);
        let door = Door::new();
        let files = files::read(folder)?;
        let understood = files::understand(&door, &files)?;
        let names = folders::named(&understood.objects);
        let places = folders::places(folder, &names);
        watching.arm(&places);
        look.add(&places);
        let contents = folders::read(folder, &names);
        let loaded = Arc::new(Loaded {
            objects: Arc::new(understood.objects),
            origins: Arc::new(understood.origins),
            secrets: Arc::new(folders::understand(&contents)),
            revision: 1,
            loaded_at: SystemTime::now(),
            errors: Vec::new(),
        });
        let (publish, receiver) = watch::channel(loaded);
        let keeper = Keeper {
            folder: folder.to_owned(),
            door,
            watching,
            look,
            read: Ok(files),
            places,
            contents,
            publish,
        };
        thread::Builder::new()
            .name("lastcall-files".to_owned())
            .spawn(move || keeper.run(&inbox))
            .map_err(|error| SourceError {
                errors: vec![FileError::whole(
                    folder,
                    format!("no thread to watch it: {error}"),
                )],
            })?;
        Ok(Self {
            messages,
            loaded: receiver,
        })
    }

    /// What the folder has to say, now and on every change.
    pub fn loaded(&self) -> watch::Receiver<Arc<Loaded>> {
        self.loaded.clone()
    }

    /// Reads the folder at once (SIGHUP) and returns what came of it; it has been published by then.
    pub async fn reload(&self) -> Arc<Loaded> {
        let (reply, answer) = oneshot::channel();
        // Neither fails while the thread lives, and it lives as long as `self`. Were it gone, what was
        // published last is what there is.
        let _ = self.messages.send(Message::Reload(reply));
        match answer.await {
            Ok(loaded) => loaded,
            Err(_) => self.loaded.borrow().clone(),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The thread ends by this or has ended.
        let _ = self.messages.send(Message::Stop);
    }
}

/// The thread's own: it alone reads the folder and publishes.
struct Keeper {
    folder: PathBuf,
    door: Door,
    watching: Watching,
    look: Look,
    /// What was read last, taken or not: the same again needs no second thought.
    read: Result<Files, SourceError>,
    /// Where the Secrets are that the objects name.
    places: Vec<PathBuf>,
    /// As they were read last.
    contents: Contents,
    publish: watch::Sender<Arc<Loaded>>,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let mut asked = Vec::new();
            match inbox.recv_timeout(self.watching.patience()) {
                Ok(Message::Reload(reply)) => asked.push(reply),
                Ok(Message::Changed) => {
                    if !settle(inbox, &mut asked) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let mut look = Look::at(&self.folder);
                    look.add(&self.places);
                    if look == self.look {
                        continue;
                    }
                    if !settle(inbox, &mut asked) {
                        return;
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.reload_or_tell();
            for reply in asked {
                // Who asked may have gone.
                let _ = reply.send(self.publish.borrow().clone());
            }
        }
    }

    /// A fault of ours ends neither the thread nor what runs: the next change is tried again.
    fn reload_or_tell(&mut self) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.reload())).is_ok() {
            return;
        }
        let message = "an internal error of lastcall; the log says where";
        let before = self.publish.borrow().clone();
        let next = Loaded {
            errors: vec![FileError::whole(&self.folder, message)],
            ..(*before).clone()
        };
        log(&before, &next);
        self.publish.send_replace(Arc::new(next));
    }

    fn reload(&mut self) {
        self.watching.arm(&self.places);
        // Before the reading, so that what is written during it is seen as a change.
        self.look = Look::at(&self.folder);
        let read = files::read(&self.folder);
        let before = self.publish.borrow().clone();
        let mut next = if read == self.read {
            (*before).clone()
        } else {
            after(&self.door, &before, &read)
        };
        self.read = read;
        self.reload_secrets(&before, &mut next);
        if next != *before {
            log(&before, &next);
            self.publish.send_replace(Arc::new(next));
        }
    }
}

impl Keeper {
    /// Reads the Secrets that the objects of `next` name.
    fn reload_secrets(&mut self, before: &Loaded, next: &mut Loaded) {
        let names = folders::named(&next.objects);
        self.places = folders::places(&self.folder, &names);
        self.watching.arm(&self.places);
        self.look.add(&self.places);
        let contents = folders::read(&self.folder, &names);
        if contents == self.contents {
            return;
        }
        let secrets = folders::understand(&contents);
        self.contents = contents;
        if secrets == *before.secrets {
            return;
        }
        next.secrets = Arc::new(secrets);
        if next.revision == before.revision {
            next.revision += 1;
            next.loaded_at = SystemTime::now();
        }
    }
}

/// What there is to say after the folder was read again, but for the Secrets that it names. What is taken is the
/// whole of it or nothing (Law 4).
pub fn after(door: &Door, before: &Loaded, read: &Result<Files, SourceError>) -> Loaded {
    let outcome = match read {
        Ok(files) => files::understand(door, files),
        Err(error) => Err(error.clone()),
    };
    let understood = match outcome {
        Ok(understood) => understood,
        Err(error) => {
            return Loaded {
                errors: error.errors,
                ..before.clone()
            };
        }
    };
    let same = Loaded {
        origins: Arc::new(understood.origins),
        errors: Vec::new(),
        ..before.clone()
    };
    if understood.objects == *before.objects {
        return same;
    }
    Loaded {
        objects: Arc::new(understood.objects),
        revision: before.revision + 1,
        loaded_at: SystemTime::now(),
        ..same
    }
}

/// Waits until nothing was written for a while. False where it is time to stop.
fn settle(inbox: &Receiver<Message>, asked: &mut Vec<oneshot::Sender<Arc<Loaded>>>) -> bool {
    let latest = Instant::now() + SETTLED_AT_LAST;
    loop {
        let left = latest.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(SETTLED.min(left)) {
            Ok(Message::Changed) if left > Duration::ZERO => {}
            Ok(Message::Changed) | Err(RecvTimeoutError::Timeout) => return true,
            Ok(Message::Reload(reply)) => {
                // Asked for by a person: now is now.
                asked.push(reply);
                return true;
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

fn log(before: &Loaded, next: &Loaded) {
    for error in &next.errors {
        let loaded_at = k8s_openapi::jiff::Timestamp::try_from(next.loaded_at).unwrap_or_default();
        tracing::error!(
            %error,
            revision = next.revision,
            %loaded_at,
            "configuration refused; running on with the last good one"
        );
    }
    if next.errors.is_empty() {
        tracing::info!(
            revision = next.revision,
            changed = next.revision != before.revision,
            load_balancers = next.objects.load_balancers.len(),
            backends = next.objects.backends.len(),
            secrets = next.secrets.len(),
            "configuration taken"
        );
    }
}

#[cfg(test)]
mod tests;
