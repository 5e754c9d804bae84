//! The `muster` binary in a folder of its own, on loopback, and clients for it.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::wait::{PATIENCE, wait_for};

/// A running server, which is killed when the test ends; its log is printed if the test fails.
pub struct MusterProcess {
    program: &'static str,
    child: Child,
    folder: TempDir,
    /// The first address that it answers on.
    pub dns: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

/// The exit code of a command and its output.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl MusterProcess {
    /// Writes these files, which ask for port 0, and has `program` serve them; returns when
    /// `web.shop` is answered.
    ///
    /// `program` is the path that cargo has for the tests of the package with the binary:
    /// `CARGO_BIN_EXE_muster`.
    pub fn start(program: &'static str, files: &[(&str, &str)]) -> Self {
        Self::start_with(program, files, |_| {})
    }

    /// As [`start`](Self::start), after `prepare` has worked on the folder.
    pub fn start_with(program: &'static str, files: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().unwrap();
        prepare(folder.path());
        for (path, text) in files {
            write(&folder.path().join(path), text);
        }
        let child = serve(program, folder.path());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut muster = Self { program, child, folder, dns: nowhere, admin: nowhere };
        muster.wait_until_listening();
        wait_for("web.shop is answered", || ask(muster.dns, "web.shop.").code == ResponseCode::NoError);
        muster
    }

    /// Kills the server with SIGKILL, lets `change` work on the folder, and starts it again with a
    /// new log; returns when it listens, before any query.
    pub fn restart_with(&mut self, change: impl FnOnce(&Path)) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        change(self.folder.path());
        self.child = serve(self.program, self.folder.path());
        self.wait_until_listening();
    }

    fn wait_until_listening(&mut self) {
        wait_for("muster listens", || {
            assert!(self.child.try_wait().unwrap().is_none(), "muster has ended:\n{}", self.log());
            let log = self.log();
            let address = |message: &str| -> Option<SocketAddr> {
                let line = log.lines().find(|line| line.contains(message))?;
                let json: serde_json::Value = serde_json::from_str(line).ok()?;
                json.pointer("/fields/address").or(json.get("address"))?.as_str()?.parse().ok()
            };
            let (Some(dns), Some(admin)) = (address("listening on UDP and TCP"), address("admin port"))
            else {
                return false;
            };
            (self.dns, self.admin) = (dns, admin);
            true
        });
    }

    /// The path of a file in the folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file in the folder.
    pub fn write(&self, path: &str, text: &str) {
        write(&self.path(path), text);
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        kill(self.pid(), Signal::SIGHUP).unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Runs `muster reload` with these arguments; without any, `--at` this server.
    pub fn reload(&self, arguments: &[&str]) -> Ended {
        let admin = self.admin.to_string();
        let arguments = if arguments.is_empty() { &["--at", admin.as_str()] } else { arguments };
        run(Command::new(self.program).arg("reload").args(arguments))
    }

    /// Runs `muster reload` with the configuration instead of the address.
    pub fn reload_of_config(&self) -> Ended {
        self.command_of_config("reload")
    }

    /// Runs a command that finds the server through the configuration.
    pub fn command_of_config(&self, command: &str) -> Ended {
        run(Command::new(self.program).args([command, "--config"]).arg(self.path("muster.toml")))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for MusterProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Runs `muster serve` with the configuration in `folder`, and a new log there.
fn serve(program: &str, folder: &Path) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new(program);
    command.args(["serve", "--log", "info", "--log-json", "--config"]).arg(folder.join("muster.toml"));
    command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).spawn().unwrap()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The answer to a query for A records.
#[derive(Debug)]
pub struct Answer {
    /// The response code.
    pub code: ResponseCode,
    /// The addresses in the order of the answer.
    pub addresses: Vec<String>,
    /// The TTL of the first record, in seconds; 0 if there is none.
    pub ttl: u32,
}

/// Queries A records over UDP, once.
///
/// # Panics
///
/// If no answer comes.
pub fn ask(server: SocketAddr, name: &str) -> Answer {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&message.to_vec().unwrap(), server).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a query is lost");
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    Answer {
        code: answer.metadata.response_code,
        addresses: answer
            .answers
            .iter()
            .filter_map(|record| record.data.ip_addr())
            .map(|ip| ip.to_string())
            .collect(),
        ttl: answer.answers.first().map_or(0, |record| record.ttl),
    }
}

/// Sends one request to the admin port; returns the whole response.
pub fn http(admin: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
