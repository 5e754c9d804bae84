//! The binary, started in a folder of its own, and what asks it.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
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

/// Long enough for a busy machine; nothing here waits for it unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Muster {
    child: Child,
    folder: TempDir,
    pub dns: SocketAddr,
    pub admin: SocketAddr,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Muster {
    /// Writes these files and serves them; they ask for port 0.
    pub fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, |_| {})
    }

    /// As [`start`](Self::start), after more has been done to the folder.
    pub fn start_with(files: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().unwrap();
        prepare(folder.path());
        for (path, text) in files {
            write(&folder.path().join(path), text);
        }
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command
            .args(["serve", "--log", "info", "--log-json", "--config"])
            .arg(folder.path().join("muster.toml"));
        let child =
            command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).spawn().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut muster = Self { child, folder, dns: nowhere, admin: nowhere };
        wait_for("muster listens", || {
            assert!(muster.child.try_wait().unwrap().is_none(), "muster has ended:\n{}", muster.log());
            let log = muster.log();
            let address = |message: &str| -> Option<SocketAddr> {
                let line = log.lines().find(|line| line.contains(message))?;
                let json: serde_json::Value = serde_json::from_str(line).ok()?;
                json.pointer("/fields/address").or(json.get("address"))?.as_str()?.parse().ok()
            };
            let (Some(dns), Some(admin)) = (address("answering on UDP and TCP"), address("admin port"))
            else {
                return false;
            };
            (muster.dns, muster.admin) = (dns, admin);
            ask(dns, "web.shop.").code == ResponseCode::NoError
        });
        muster
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        write(&self.path(path), text);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn hang_up(&self) {
        kill(self.pid(), Signal::SIGHUP).unwrap();
    }

    /// Runs `muster reload` with these arguments; without any, `--at` this server.
    pub fn reload(&self, arguments: &[&str]) -> Ended {
        let admin = self.admin.to_string();
        let arguments = if arguments.is_empty() { &["--at", admin.as_str()] } else { arguments };
        run(Command::new(env!("CARGO_BIN_EXE_muster")).arg("reload").args(arguments))
    }

    /// Runs `muster reload` with the configuration instead of the address.
    pub fn reload_of_config(&self) -> Ended {
        run(Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["reload", "--config"])
            .arg(self.path("muster.toml")))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
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

/// What was answered to a question for addresses.
#[derive(Debug)]
pub struct Answer {
    pub code: ResponseCode,
    pub addresses: Vec<String>,
    pub ttl: u32,
}

/// Asks for addresses over UDP, once; panics if there is no answer.
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

/// One request to the admin port; the whole answer.
pub fn http(admin: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}
