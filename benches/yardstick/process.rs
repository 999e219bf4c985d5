//! Starts processes on a CPU, ends them with the program, and reads what they used.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long a process may take until it listens.
const START: Duration = Duration::from_secs(10);
/// Kernel ticks a second, as /proc counts them (`USER_HZ`, the same on every Linux that Rust runs on).
const TICKS: f64 = 100.0;
/// Open files a process is given, where the machine's own limit allows it.
const OPEN_FILES: usize = 65_536;

/// Two CPUs that this program may use.
pub struct Cpus {
    /// Of the proxy under test, alone.
    pub proxy: String,
    /// Of the load generator and the backend.
    pub load: String,
}

impl Cpus {
    /// The first two that are allowed.
    pub fn two() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("this needs Linux")?;
        let list = line_of(&status, "Cpus_allowed_list:")?;
        let mut cpus = Vec::new();
        for range in list.trim().split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            cpus.extend(first.parse::<usize>()?..=last.parse::<usize>()?);
        }
        match cpus[..] {
            [proxy, load, ..] => Ok(Self {
                proxy: proxy.to_string(),
                load: load.to_string(),
            }),
            _ => bail!("this needs two CPUs: one for the proxy, one for its clients and backend"),
        }
    }
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    /// In user space.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl std::ops::Sub for CpuTime {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

/// A process that ends when this is dropped, or when this program dies.
pub struct Running(Child);

impl Running {
    /// Starts `program` on the CPU and waits until it listens at `address`.
    pub fn start(
        cpu: &str,
        program: &str,
        args: &[String],
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut command = pinned(cpu, program)?;
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self::spawn(child, program)?.listening(program, address)
    }

    /// Starts this program in the part that serves at `address`.
    pub fn part(cpu: &str, args: &[&str], address: SocketAddr) -> anyhow::Result<Self> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Self::start(cpu, &this_program()?, &args, address)
    }

    /// Starts this program in a part that is talked to.
    pub fn talking_part(cpu: &str, args: &[&str]) -> anyhow::Result<Self> {
        let program = this_program()?;
        let mut command = pinned(cpu, &program)?;
        let child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self::spawn(child, &program)
    }

    fn spawn(command: &mut Command, program: &str) -> anyhow::Result<Self> {
        let child = command.spawn();
        let child = child
            .with_context(|| format!("cannot start {program}: setpriv is missing (util-linux)"))?;
        Ok(Self(child))
    }

    fn listening(mut self, program: &str, address: SocketAddr) -> anyhow::Result<Self> {
        let until = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.0.try_wait()? {
                bail!("{program} ended with {status}; its reason is above");
            }
            ensure!(
                Instant::now() < until,
                "{program} does not listen at {address}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(self)
    }

    /// Its input and output.
    pub fn pipes(&mut self) -> anyhow::Result<(ChildStdin, ChildStdout)> {
        let pipes = self.0.stdin.take().zip(self.0.stdout.take());
        pipes.context("the pipes are taken already")
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What it has used so far, all its threads together.
    pub fn cpu_time(&self) -> anyhow::Result<CpuTime> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))
            .context("the proxy has ended")?;
        // The name, in parentheses, may have spaces; utime and stime are the 12th and 13th after it.
        let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<f64>);
        let mut next = || anyhow::Ok(ticks.next().context("/proc/PID/stat")?? / TICKS);
        Ok(CpuTime {
            user: next()?,
            system: next()?,
        })
    }

    /// Its resident memory.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))
            .context("the proxy has ended")?;
        let kib = line_of(&status, "VmRSS:")?.trim().trim_end_matches(" kB");
        Ok(kib.trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `program` on one CPU, dying with this program, with room for open files.
fn pinned(cpu: &str, program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("setpriv");
    let files = open_files()?;
    command.args([
        "--pdeathsig",
        "KILL",
        "prlimit",
        &format!("--nofile={files}:"),
    ]);
    command.args(["taskset", "-c", cpu, program]);
    Ok(command)
}

/// Open files that a process started here may have.
pub fn open_files() -> anyhow::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let hard = line_of(&limits, "Max open files")?
        .split_whitespace()
        .nth(1);
    // `unlimited` is no number.
    Ok(hard
        .map_or(OPEN_FILES, |n| n.parse().unwrap_or(OPEN_FILES))
        .min(OPEN_FILES))
}

/// An address that nobody listens at now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn this_program() -> anyhow::Result<String> {
    let path = std::env::current_exe()?;
    Ok(path
        .to_str()
        .context("this program's path is no UTF-8")?
        .to_owned())
}

fn line_of<'a>(text: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.with_context(|| format!("no {name} in /proc"))
}
