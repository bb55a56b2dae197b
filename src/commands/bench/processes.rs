//! What processes cost: CPU and memory, from /proc.
//!
//! Owns nothing; each question reads a few small files. Nothing fails: what cannot be read (another system than Linux, a
//! server on another machine or in a container, a process of somebody else) is `None`, and its figure is absent.

use crate::store::bench::Backend;
use serde::Serialize;

/// CPU seconds that a process has used since its start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cpu {
    /// In user mode.
    pub user_s: f64,
    /// In the kernel.
    pub system_s: f64,
}

impl Cpu {
    /// Both.
    #[must_use]
    pub fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

/// The machine that measures.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Operating system and architecture.
    pub system: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Model of the CPU.
    pub cpu: Option<String>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let (cpu, memory_bytes) = system::hardware();
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu,
            memory_bytes,
        }
    }
}

/// The process id of a child, as the questions here take it.
#[must_use]
pub fn pid_of(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
}

/// The CPU of a process.
#[must_use]
pub fn cpu(pid: i32) -> Option<Cpu> {
    system::cpu(pid)
}

/// The sum over processes; those that are gone count nothing.
#[must_use]
pub fn cpu_of_all(pids: &[i32]) -> Option<f64> {
    let known: Vec<f64> = pids.iter().filter_map(|&pid| Some(cpu(pid)?.total_s())).collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

/// The proportional set size of a process now, in bytes: its own memory, and its share of what it shares.
#[must_use]
pub fn pss_bytes(pid: i32) -> Option<u64> {
    system::pss_bytes(pid)
}

/// The most memory that a process has had resident, in bytes.
#[must_use]
pub fn peak_resident_bytes(pid: i32) -> Option<u64> {
    system::peak_resident_bytes(pid)
}

/// The main process of the PostgreSQL that serves this session, if it runs on this machine, in this namespace.
#[must_use]
pub fn postmaster(backend: Backend) -> Option<i32> {
    system::postmaster(backend)
}

/// CPU seconds of a process with all its children, also those that have ended.
#[must_use]
pub fn cpu_with_children(pid: i32) -> Option<f64> {
    system::cpu_with_children(pid)
}

/// CPU seconds in which the machine did something since its start, all cores together; also what a hypervisor took away.
#[must_use]
pub fn machine_busy_s() -> Option<f64> {
    system::machine_busy_s()
}

/// The process that listens on a port of this machine.
#[must_use]
pub fn listener(port: u16) -> Option<i32> {
    system::listener(port)
}

/// The broker, where the first of these `host:port` is on this machine.
#[must_use]
pub fn broker(brokers: &str) -> Option<i32> {
    let (host, port) = brokers.split(',').next()?.trim().rsplit_once(':')?;
    let host = host.rsplit_once("//").map_or(host, |(_, host)| host).trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback { listener(port.parse().ok()?) } else { None }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Backend, Cpu};
    use procfs::net::TcpState;
    use procfs::process::{FDTarget, Process, Stat, all_processes};
    use procfs::{CpuInfo, Current as _, CurrentSI as _, KernelStats, Meminfo};

    /// What forwards a port into a container: its CPU is not the broker's.
    const FORWARDERS: [&str; 3] = ["docker-proxy", "rootlessport", "slirp4netns"];

    pub fn hardware() -> (Option<String>, Option<u64>) {
        let cpu = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
        (cpu, Meminfo::current().ok().map(|memory| memory.mem_total))
    }

    fn stat(pid: i32) -> Option<Stat> {
        Process::new(pid).ok()?.stat().ok()
    }

    fn seconds(ticks: u64) -> f64 {
        ticks as f64 / procfs::ticks_per_second() as f64
    }

    pub fn cpu(pid: i32) -> Option<Cpu> {
        let stat = stat(pid)?;
        Some(Cpu { user_s: seconds(stat.utime), system_s: seconds(stat.stime) })
    }

    pub fn pss_bytes(pid: i32) -> Option<u64> {
        let maps = Process::new(pid).ok()?.smaps_rollup().ok()?.memory_map_rollup;
        maps.0.first()?.extension.map.get("Pss").copied()
    }

    pub fn peak_resident_bytes(pid: i32) -> Option<u64> {
        let kib = Process::new(pid).ok()?.status().ok()?.vmhwm?;
        Some(kib * 1_024)
    }

    pub fn postmaster(backend: Backend) -> Option<i32> {
        let process = Process::new(backend.pid).ok()?;
        // A process with this number may be anything where the server has process ids of its own: its title tells.
        let title = process.cmdline().ok()?.join(" ");
        let is_it = backend.client_port.is_none_or(|port| title.contains(&format!("({port})")));
        let is_postgres = |pid: i32| stat(pid).is_some_and(|stat| matches!(&*stat.comm, "postgres" | "postmaster"));
        let parent = process.stat().ok()?.ppid;
        (is_it && is_postgres(backend.pid) && is_postgres(parent)).then_some(parent)
    }

    pub fn cpu_with_children(pid: i32) -> Option<f64> {
        let stat = stat(pid)?;
        let of_ended = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        let alive = all_processes().ok()?.filter_map(|process| process.ok()?.stat().ok());
        let of_children: u64 = alive.filter(|child| child.ppid == pid).map(|child| child.utime + child.stime).sum();
        Some(seconds(stat.utime + stat.stime + of_ended + of_children))
    }

    pub fn machine_busy_s() -> Option<f64> {
        let all = KernelStats::current().ok()?.total;
        let interrupts = all.irq.unwrap_or(0) + all.softirq.unwrap_or(0) + all.steal.unwrap_or(0);
        Some(seconds(all.user + all.nice + all.system + interrupts))
    }

    pub fn listener(port: u16) -> Option<i32> {
        let sockets = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
        let mut listening = sockets.filter(|one| one.state == TcpState::Listen && one.local_address.port() == port);
        let inode = listening.next()?.inode;
        let owns = |process: &Process| {
            let mut open = process.fd().ok()?.flatten();
            open.any(|fd| matches!(fd.target, FDTarget::Socket(owned) if owned == inode)).then_some(process.pid)
        };
        let pid = all_processes().ok()?.flatten().find_map(|process| owns(&process))?;
        let name = stat(pid)?.comm;
        (!FORWARDERS.contains(&name.as_str())).then_some(pid)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Backend, Cpu};

    pub fn hardware() -> (Option<String>, Option<u64>) {
        (None, None)
    }

    pub fn cpu(_pid: i32) -> Option<Cpu> {
        None
    }

    pub fn pss_bytes(_pid: i32) -> Option<u64> {
        None
    }

    pub fn peak_resident_bytes(_pid: i32) -> Option<u64> {
        None
    }

    pub fn postmaster(_backend: Backend) -> Option<i32> {
        None
    }

    pub fn cpu_with_children(_pid: i32) -> Option<f64> {
        None
    }

    pub fn machine_busy_s() -> Option<f64> {
        None
    }

    pub fn listener(_port: u16) -> Option<i32> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    #[test]
    fn this_process_has_used_cpu_and_memory_and_its_port_is_its_own() {
        let own = pid_of(std::process::id());
        let before = cpu(own).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0_u64;
        while cpu(own).unwrap().since(before).total_s() < 0.05 {
            sum = (0..100_000_u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
            assert!(started.elapsed().as_secs() < 60, "no CPU is counted");
        }
        assert!(machine_busy_s().unwrap() > 0.0);
        assert!(pss_bytes(own).unwrap() > 100_000);
        assert!(peak_resident_bytes(own).unwrap() >= pss_bytes(own).unwrap() / 2);
        assert!(cpu_with_children(own).unwrap() >= cpu(own).unwrap().total_s() - 0.1);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(own));
        assert_eq!(broker(&format!("localhost:{port},other:1")), Some(own));
        assert_eq!(broker(&format!("192.0.2.1:{port}")), None);
        assert_eq!(cpu_of_all(&[own, i32::MAX]).map(|seconds| seconds > 0.0), Some(true));
        assert_eq!(cpu_of_all(&[]), None);
        // A number that some other process has is no server.
        assert_eq!(postmaster(Backend { pid: own, client_port: None }), None);
        assert!(Machine::here().cores > 0);
    }
}
