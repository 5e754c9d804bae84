//! Servers as child processes: pinned to a core, waited for, ended by the pid that was started.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{
    account::Account,
    question::{Expect, MAX_QUESTION, Template},
};

/// How long a server may take to load a million instances.
const LOAD_PATIENCE: Duration = Duration::from_secs(180);
/// How long a server may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for an answer before the query is sent again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// One core for the server, one for the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) client: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use, and moves this thread to the second
    /// one.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(server), Some(client)) = (cores.next(), cores.next()) else {
            bail!("needs two cores: one for the server, one for who asks");
        };
        pin(client)?;
        Ok(Self { server, client })
    }
}

fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot move to core {core}"))
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// Its CPU time and memory.
    pub(crate) account: Account,
    /// From its start to the first right answer about the last name.
    pub(crate) load: Duration,
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts this binary with another command line. The child reports where it listens, and when
    /// it has loaded.
    pub(crate) fn start_own(arguments: &[String], cores: Cores) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut guard = Guard(Some(spawn(command, cores)?));
        let stdout = guard.child()?.stdout.take().context("no output of the server")?;
        let mut output = BufReader::new(stdout);
        let address = line_of(&mut output, "listening")?.parse()?;
        line_of(&mut output, "loaded")?;
        let load = started.elapsed();
        guard.into_server(address, load, Some(output))
    }

    /// Starts a program of the system, and waits until it answers `probe` about name `last` as
    /// expected.
    pub(crate) fn start_foreign(
        command: Command,
        address: SocketAddr,
        probe: &Template,
        last: u32,
        cores: Cores,
    ) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let started = Instant::now();
        let mut guard = Guard(Some(spawn(command, cores)?));
        let mut asker = Asker::new(address)?;
        while asker.ask(probe, last).is_none_or(|answer| probe.check(last, &probe.expect(), answer).is_err())
        {
            if let Some(status) = guard.child()?.try_wait()? {
                bail!("{program} has ended: {status}");
            }
            if started.elapsed() > LOAD_PATIENCE {
                bail!("{program} does not answer on {address}");
            }
        }
        guard.into_server(address, started.elapsed(), None)
    }

    /// Sends a command to one of our own servers.
    pub(crate) fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("this server takes no commands")?;
        writeln!(input, "{command}")?;
        Ok(input.flush()?)
    }

    /// Reads the text after `word` in the server's next line.
    pub(crate) fn hear(&mut self, word: &str) -> anyhow::Result<String> {
        line_of(self.output.as_mut().context("this server says nothing")?, word)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A child that is ended if its start fails.
struct Guard(Option<Child>);

impl Guard {
    fn child(&mut self) -> anyhow::Result<&mut Child> {
        self.0.as_mut().context("the server has been handed on")
    }

    fn into_server(
        mut self,
        address: SocketAddr,
        load: Duration,
        output: Option<BufReader<ChildStdout>>,
    ) -> anyhow::Result<Server> {
        let account = Account::of_tree(self.child()?.id())?;
        let child = self.0.take().context("the server has been handed on")?;
        Ok(Server { address, account, load, child, output })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// Sends one query at a time.
pub(crate) struct Asker {
    socket: UdpSocket,
    id: u16,
    room: [u8; 2048],
}

impl Asker {
    pub(crate) fn new(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(ASK_AGAIN))?;
        Ok(Self { socket, id: 0, room: [0; 2048] })
    }

    /// Sends a query and returns the answer; `None` if none comes soon.
    pub(crate) fn ask(&mut self, template: &Template, number: u32) -> Option<&[u8]> {
        self.id = self.id.wrapping_add(1);
        let mut question = [0; MAX_QUESTION];
        let length = template.write(self.id, number, &mut question);
        let sent = self.socket.send(&question[..length]);
        loop {
            match self.socket.recv(&mut self.room) {
                Ok(length) if length >= 12 && self.room[..2] == self.id.to_be_bytes() => {
                    return Some(&self.room[..length]);
                }
                Ok(_) => {} // a late answer to an earlier question
                Err(_) => break,
            }
        }
        if sent.is_err() {
            // Refused at once: the server does not listen yet, so nothing was waited for.
            std::thread::sleep(ASK_AGAIN);
        }
        None
    }

    /// Sends queries until the answer is as expected; returns its length.
    pub(crate) fn ask_until(
        &mut self,
        template: &Template,
        number: u32,
        expect: &Expect,
    ) -> anyhow::Result<usize> {
        let started = Instant::now();
        while started.elapsed() < LOAD_PATIENCE {
            if let Some(answer) = self.ask(template, number)
                && template.check(number, expect, answer).is_ok()
            {
                return Ok(answer.len());
            }
        }
        bail!("no answer as expected about name {number} within {LOAD_PATIENCE:?}")
    }
}

/// Ends this process when its input ends: a server must not outlive its parent.
pub(crate) fn end_with_input() {
    std::thread::spawn(|| {
        let mut input = std::io::stdin().lock();
        let mut room = [0; 64];
        while matches!(input.read(&mut room), Ok(1..)) {}
        std::process::exit(0);
    });
}

/// Starts a child on the server's core: all its threads inherit that.
fn spawn(mut command: Command, cores: Cores) -> anyhow::Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    pin(cores.server)?;
    let child = command.spawn().with_context(|| format!("cannot start {program}"));
    pin(cores.client)?;
    child
}

fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait()
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::TERM);
    }
    let asked = Instant::now();
    while let Ok(None) = child.try_wait() {
        if asked.elapsed() > END_PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn line_of(output: &mut BufReader<ChildStdout>, word: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    let rest = line.trim_end().strip_prefix(word);
    Ok(rest.with_context(|| format!("expected `{word}` from the server, found {line:?}"))?.trim().to_owned())
}
