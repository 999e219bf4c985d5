//! Where lastcall's admin socket is when nobody says. The same rule on both sides: lastcall binds it,
//! `lastcall status` and `lastcall-hold` look there.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// `$XDG_RUNTIME_DIR/lastcall/admin.sock` for a user who has that, `/run/lastcall/admin.sock` for root
/// and for services.
pub fn default_admin_socket() -> PathBuf {
    // The owner of /proc/self is the effective user; where there is no /proc we do as a service does.
    let root = std::fs::metadata("/proc/self").map_or(true, |own| own.uid() == 0);
    default_for(root, std::env::var_os("XDG_RUNTIME_DIR"))
}

fn default_for(root: bool, runtime_dir: Option<OsString>) -> PathBuf {
    let dir = match runtime_dir {
        Some(dir) if !root && !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from("/run"),
    };
    dir.join("lastcall/admin.sock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_user_has_a_socket_of_their_own_and_root_and_services_share_one() {
        let own = Some(OsString::from("/run/user/1000"));
        assert_eq!(
            default_for(false, own.clone()),
            Path::new("/run/user/1000/lastcall/admin.sock")
        );
        // `sudo` keeps the caller's XDG_RUNTIME_DIR on some systems: root is root.
        assert_eq!(
            default_for(true, own),
            Path::new("/run/lastcall/admin.sock")
        );
        assert_eq!(
            default_for(false, None),
            Path::new("/run/lastcall/admin.sock")
        );
    }
}
