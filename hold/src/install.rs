//! `lastcall-hold install`: what the init container does. It copies this very program into the pod's shared
//! folder, with a file that says where lastcall is asked.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::pod::{HookService, SERVICE_FILE};

/// The program's name in the folder.
pub const PROGRAM: &str = "lastcall-hold";

/// Copies the running program into `folder` and writes what it has to know beside it. Doing it again
/// (the init container is restarted) replaces both, each whole.
pub fn install(folder: &Path, service: &HookService) -> io::Result<()> {
    let own = fs::read(std::env::current_exe()?)?;
    place(folder, PROGRAM, &own, 0o555)?;
    place(folder, SERVICE_FILE, &serde_json::to_vec(service)?, 0o444)
}

/// Written beside and moved into place: a hook that starts now finds the old one or the new one.
fn place(folder: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let named = |error: io::Error| {
        let path = folder.join(name);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    let written = folder.join(format!(".{name}.new"));
    let write = || {
        let mut file = File::create(&written)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        drop(file);
        fs::rename(&written, folder.join(name))
    };
    write().map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_what_it_has_to_know_are_there_and_again() {
        let folder = std::env::temp_dir().join(format!("lastcall-install-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut service = HookService {
            name: "lastcall-hook.lastcall.svc".to_owned(),
            address: [10, 96, 0, 7].into(),
            port: 8443,
            ca: "PEM".to_owned(),
        };
        for port in [8443, 9443] {
            service.port = port;
            install(&folder, &service).unwrap();
            let told: HookService =
                serde_json::from_slice(&fs::read(folder.join(SERVICE_FILE)).unwrap()).unwrap();
            assert_eq!(told, service);
        }
        let mode = fs::metadata(folder.join(PROGRAM))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o555);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
