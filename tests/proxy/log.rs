//! The log holds nobody up.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::{Config, Lastcall, RawClient};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// More than a pipe holds lines for (64 KiB; a drain and its end are four lines of some 150 bytes).
const CHANGES: usize = 600;

#[test]
fn a_log_that_nobody_reads_holds_up_neither_drains_nor_requests() {
    let server = Backend::echo();
    let mut lastcall = Lastcall::start(Config::new(&[server.address]));
    lastcall.kill();
    let log = lastcall.folder.path().join("log");
    fs::remove_file(&log).unwrap();
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    // Open, and never read.
    let non_blocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let reader = fs::File::options()
        .read(true)
        .custom_flags(non_blocking)
        .open(&log)
        .unwrap();
    lastcall.start_again();
    // It is open; nobody else is to wait for a reader.
    fs::remove_file(&log).unwrap();
    let target = format!("be/web/{}", server.address);
    for change in ["drain", "enable"].into_iter().cycle().take(CHANGES) {
        // Ends with an error where lastcall does not answer.
        let changed = lastcall.cli(&[change, &target]);
        assert!(changed.status.success(), "{changed:?}");
    }
    assert_eq!(RawClient::connect(lastcall.address).ask(GET).status(), 200);
    // The control: nothing more goes into the pipe.
    let unread = rustix::io::ioctl_fionread(&reader).unwrap();
    assert!(unread > 60_000, "{unread} bytes wait to be read");
}
