//! The file of the admin socket: made so that only its owner can open it, taken over from a process that
//! died, never from one that lives.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A bound admin socket. Dropping it removes the file, if it is still ours.
#[derive(Debug)]
pub struct AdminSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
    inode: u64,
}

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another lastcall, or another program, listens there.
    #[error(
        "{path} is the admin socket of a running process{owner}: stop that one, or give this one another --admin-socket"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
        /// ` (pid N)` where it is known.
        owner: String,
    },
    /// There is a file of another kind.
    #[error("{path} exists and is no socket: move it away, or choose another --admin-socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The directory cannot be made.
    #[error(
        "cannot make the admin socket's directory {dir}: {source}; choose another with --admin-socket"
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be bound.
    #[error("cannot bind the admin socket {path}: {source}; choose another with --admin-socket")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AdminSocket {
    /// Binds `path` with mode 0600; its directory is made with 0700 where it is missing.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| SocketError::Directory {
                dir: dir.to_owned(),
                source,
            })?;
        refuse_if_taken(path)?;
        bind_privately(dir, path).map_err(|source| SocketError::Bind {
            path: path.to_owned(),
            source,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, once.
    pub(super) fn take_listener(&mut self) -> io::Result<tokio::net::UnixListener> {
        let listener = self
            .listener
            .take()
            .ok_or_else(|| io::Error::other("the admin socket is served already"))?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A process that came after us may have put its own there.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "admin socket not removed");
        }
    }
}

/// A file that refuses connections is what a process that died leaves behind; all else is in use.
fn refuse_if_taken(path: &Path) -> Result<(), SocketError> {
    let Ok(file) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket { path });
    }
    match UnixStream::connect(&path) {
        Ok(stream) => Err(SocketError::Taken {
            path,
            owner: owner(stream),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(SocketError::Bind { path, source }),
    }
}

/// The process that bound a socket, by the kernel's word; nothing outside of a runtime.
fn owner(stream: UnixStream) -> String {
    let pid = || {
        tokio::runtime::Handle::try_current().ok()?;
        stream.set_nonblocking(true).ok()?;
        let stream = tokio::net::UnixStream::from_std(stream).ok()?;
        stream.peer_cred().ok()?.pid()
    };
    pid().map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// Binds beside the final place, in a directory that nobody else can enter, and moves it there: there is
/// no moment at which others may connect, and a file that a dead process left is replaced in one step.
fn bind_privately(dir: &Path, path: &Path) -> io::Result<AdminSocket> {
    let private = dir.join(format!(".{}", std::process::id()));
    // Left by a process of the same number that died between the next lines.
    let _ = fs::remove_dir_all(&private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let bound = (|| {
        // Moving would take a longer name than any client can connect to.
        SocketAddr::from_pathname(path)?;
        let made = private.join("s");
        let listener = UnixListener::bind(&made)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(&made)?.ino();
        fs::rename(&made, path)?;
        Ok(AdminSocket {
            listener: Some(listener),
            path: path.to_owned(),
            inode,
        })
    })();
    let _ = fs::remove_dir_all(&private);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_open_the_socket_and_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/admin.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists(), "the file outlives the socket");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_dead_ones_socket_is_replaced_and_a_live_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the control: std leaves the file behind");
        let live = AdminSocket::bind(&path).unwrap();
        let error = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::Taken { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("(pid {})", std::process::id())),
            "{text}"
        );
        UnixStream::connect(&path).unwrap();
        drop(live);
    }

    #[test]
    fn a_path_that_cannot_be_bound_says_which_option_to_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.join("admin.sock"), dir.path().join("x".repeat(120))] {
            let error = AdminSocket::bind(&path).unwrap_err().to_string();
            assert!(error.contains("--admin-socket"), "{error}");
        }
    }

    #[test]
    fn another_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        let error = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_successors_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = AdminSocket::bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "the first removed the second's socket");
        drop(second);
    }
}
