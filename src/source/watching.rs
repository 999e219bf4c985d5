//! Tells that a folder may have changed: by inotify, and by looking at it now and then, which finds
//! what inotify cannot see (a link to a file elsewhere, a network file system, a full queue) and
//! stands in for it where it is not to be had. Called by `directory` only.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::directory::Message;

/// How often a folder that inotify watches is looked at.
const LOOK_WATCHED: Duration = Duration::from_secs(10);
/// How often a folder that nothing watches is looked at.
const LOOK_UNWATCHED: Duration = Duration::from_secs(1);

/// By what means a folder is watched. Tests take one away to see that the other does its part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// Whether inotify is to be used.
    pub inotify: bool,
    /// How often to look all the same where it is.
    pub look_watched: Duration,
}

impl Default for Means {
    fn default() -> Self {
        Self {
            inotify: true,
            look_watched: LOOK_WATCHED,
        }
    }
}

/// Device and inode: which folder a path leads to.
type Identity = (u64, u64);

/// Watches a folder, and the folder it is in, so that its replacement is seen too.
pub(super) struct Watching {
    folder: PathBuf,
    notices: Sender<Message>,
    means: Means,
    watcher: Option<RecommendedWatcher>,
    /// The folder, and those in it that were there.
    watched: Vec<Option<Identity>>,
}

impl Watching {
    /// Sends [`Message::Changed`] to `notices`.
    pub fn new(folder: &Path, notices: Sender<Message>, means: Means) -> Self {
        Self {
            folder: folder.to_owned(),
            notices,
            means,
            watcher: None,
            watched: Vec::new(),
        }
    }

    /// Watches what the path leads to now, and those folders in it that are there; nothing to do where these
    /// are watched. To be called before they are read, so that no change falls between.
    pub fn arm(&mut self, inner: &[PathBuf]) {
        let folders = std::iter::once(&self.folder).chain(inner);
        let now: Vec<_> = folders.map(|folder| identity(folder)).collect();
        let there = now.first().is_some_and(Option::is_some);
        if !self.means.inotify || !there || (self.watcher.is_some() && now == self.watched) {
            return;
        }
        self.watcher = None;
        match watch(&self.folder, inner, self.notices.clone()) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.watched = now;
            }
            Err(error) => {
                self.means.inotify = false;
                tracing::warn!(
                    folder = %self.folder.display(),
                    %error,
                    every_seconds = LOOK_UNWATCHED.as_secs(),
                    "cannot watch the configuration folder by inotify; looking at it instead"
                );
            }
        }
    }

    /// How long to wait for a notice before looking.
    pub fn patience(&self) -> Duration {
        if self.watcher.is_some() {
            self.means.look_watched
        } else {
            LOOK_UNWATCHED
        }
    }
}

fn watch(
    folder: &Path,
    inner: &[PathBuf],
    notices: Sender<Message>,
) -> notify::Result<RecommendedWatcher> {
    let name = folder.file_name().map(OsString::from);
    let own = folder.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error (a full queue among them) means that something may have been missed.
        let matters = event
            .as_ref()
            .map_or(true, |event| matters(event, &own, name.as_ref()));
        if matters {
            // The receiver is gone: nobody wants to know any more.
            let _ = notices.send(Message::Changed);
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    for folder in inner.iter().filter(|folder| folder.is_dir()) {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    let parent = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        other => other,
    };
    if let Some(parent) = parent {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Reading is no change; and of the folder above only our own name matters.
fn matters(event: &Event, folder: &Path, name: Option<&OsString>) -> bool {
    let change = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    let ours = |path: &PathBuf| {
        path.starts_with(folder) || path.file_name() == name.map(OsString::as_os_str)
    };
    event.need_rescan() || (change && (event.paths.is_empty() || event.paths.iter().any(ours)))
}

fn identity(folder: &Path) -> Option<Identity> {
    let metadata = fs::metadata(folder).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// What a look at a folder shows: two equal looks mean that nothing was written in between.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Look {
    folder: Option<Identity>,
    files: Vec<Seen>,
    /// Those of the Secrets.
    inner: Vec<Seen>,
}

/// A file's path, identity, size and time.
type Seen = (PathBuf, Identity, u64, i64, i64);

fn seen(path: PathBuf) -> Option<Seen> {
    let m = fs::metadata(&path).ok()?;
    Some((path, (m.dev(), m.ino()), m.len(), m.mtime(), m.mtime_nsec()))
}

impl Look {
    /// Looks at the names, identities, sizes and times of the files, through links.
    pub fn at(folder: &Path) -> Self {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !super::files::is_ours(&path) {
                continue;
            }
            files.extend(seen(path));
        }
        files.sort();
        Self {
            folder: identity(folder),
            files,
            inner: Vec::new(),
        }
    }

    /// Looks at the files of Secrets in these folders as well.
    pub fn add(&mut self, places: &[PathBuf]) {
        let files = places
            .iter()
            .flat_map(|place| super::folders::FILES.map(|file| place.join(file)));
        self.inner = files.filter_map(seen).collect();
    }
}
