//! The kernel's accounting: CPU time and memory of a process and its children.

use std::{fs, io, path::Path, time::Duration};

/// A process and the children that it had when this was made.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pids: Vec<u32>,
}

impl Account {
    /// Finds `root` and everything below it.
    pub(crate) fn of_tree(root: u32) -> io::Result<Self> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process may end while the list is read.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            // proc(5): the command is in parentheses and may hold any character; the parent is the
            // second field after it.
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            parents.extend(parent.map(|parent: u32| (pid, parent)));
        }
        let mut pids = vec![root];
        let mut next = 0;
        while let Some(&above) = pids.get(next) {
            pids.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| pid));
            next += 1;
        }
        Ok(Self { pids })
    }

    /// CPU time so far, user and system, of every thread that lives.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.cpu_of(|_| true)
    }

    /// CPU time so far of the threads whose name is `name`.
    pub(crate) fn cpu_of_thread(&self, name: &str) -> io::Result<Duration> {
        self.cpu_of(|thread| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        })
    }

    /// CPU time so far in user and in system mode, in clock ticks. The timer samples it, so only
    /// the shares are good.
    pub(crate) fn modes(&self) -> io::Result<[u64; 2]> {
        let mut total = [0; 2];
        for pid in &self.pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // proc(5): utime and stime are the 12th and 13th field behind the command.
            let behind = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let fields = behind.split_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
            for (total, ticks) in total.iter_mut().zip(fields) {
                *total += ticks;
            }
        }
        Ok(total)
    }

    /// Memory in bytes: the proportional set size, so that what processes share counts once.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        let mut total = 0;
        for pid in &self.pids {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
            total += kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024;
        }
        Ok(total)
    }

    fn cpu_of(&self, wanted: impl Fn(&Path) -> bool) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for pid in &self.pids {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let thread = thread?.path();
                if wanted(&thread) {
                    nanoseconds += on_cpu(&thread)?;
                }
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// The first field of a thread's `schedstat`: nanoseconds on the CPU (Linux,
/// Documentation/scheduler/sched-stats).
fn on_cpu(thread: &Path) -> io::Result<u64> {
    let schedstat = fs::read_to_string(thread.join("schedstat"))?;
    let first = schedstat.split_whitespace().next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| io::Error::other("this kernel keeps no schedstat (CONFIG_SCHED_INFO)"))
}
