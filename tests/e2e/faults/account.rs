//! What a process uses, from `/proc`: processor time and connections.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// The processor time of a process since a moment.
pub struct Account {
    process: u32,
    began_at: Instant,
    before: Duration,
}

impl Account {
    pub fn open(process: u32) -> Self {
        Self { process, began_at: Instant::now(), before: processor_time(process) }
    }

    /// The share of one core that the process has used, in percent.
    pub fn percent(&self) -> f64 {
        let used = processor_time(self.process).saturating_sub(self.before);
        used.as_secs_f64() / self.began_at.elapsed().as_secs_f64() * 100.0
    }
}

/// User and system time of a process.
fn processor_time(process: u32) -> Duration {
    /// `USER_HZ`, which Linux fixes for all programs.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may contain spaces. User and system time are the 12th and 13th
    // fields after it.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The number of established TCP connections of a process to a port of 127.0.0.1.
pub fn connections(process: u32, port: u16) -> usize {
    let mut sockets = HashSet::new();
    for file in std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten() {
        // A file may be closed in the meantime.
        if let Ok(target) = std::fs::read_link(file.path())
            && let Some(inode) = target.to_string_lossy().strip_prefix("socket:[")
        {
            sockets.insert(inode.trim_end_matches(']').to_owned());
        }
    }
    let remote = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_ours = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        matches!(fields[..], [_, _, to, "01", _, _, _, _, _, inode, ..] if to == remote && sockets.contains(inode))
    };
    table.lines().filter(is_ours).count()
}
