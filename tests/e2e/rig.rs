//! Processes, ports and waiting, for every part of the rig.

use std::{
    fs::File,
    future::Future,
    io::Write as _,
    net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn path_of(name: &str) -> PathBuf {
    let folder = std::env::var_os("MUSTER_RIG").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/muster-rig"),
        PathBuf::from,
    );
    folder.join("bin").join(name)
}

/// Whether something that a test needs, and that some machines lack, is here. Where
/// `MUSTER_RIG_ALL` is set, it must be.
///
/// The test harness cannot report a test as ignored once it runs, so what is left out is printed.
pub fn is_there(what: &str, found: bool) -> bool {
    let all_wanted = std::env::var_os("MUSTER_RIG_ALL").is_some_and(|value| !value.is_empty());
    assert!(found || !all_wanted, "{what} is missing, and MUSTER_RIG_ALL says that it must be there");
    if !found {
        println!("left out: {what} is missing");
    }
    found
}

/// Whether the rig has a server.
pub fn is_installed(name: &str) -> bool {
    is_there(name, path_of(name).exists())
}

/// Whether `PATH` has a program.
pub fn has(program: &str) -> bool {
    // Looked for, not run: some programs serve when they are run without arguments, or with -h.
    let folders = std::env::var_os("PATH").unwrap_or_default();
    is_there(program, std::env::split_paths(&folders).any(|folder| folder.join(program).is_file()))
}

/// The path of a server that `tests/rig/install` has put there.
pub fn server(name: &str) -> PathBuf {
    let path = path_of(name);
    assert!(path.exists(), "{} is not there: run tests/rig/install first", path.display());
    path
}

/// A builder of HTTP clients. It installs the process's TLS provider, which any test may be the
/// first to need.
pub fn http() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// A process that is killed when the test ends; its output is kept and shown if the test fails.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells the process to end, as a service manager does.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(id, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
            eprintln!("--- the end of {}:\n{tail}", self.log.display());
        }
    }
}

/// A port that is free for TCP and UDP. It is below the range that the system gives to clients, so
/// no connection takes it before its server does.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| {
        StdListener::bind(("127.0.0.1", *port)).is_ok() && StdSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    (0..1000).map(|_| rand::random_range(10_000..30_000)).find(is_free).expect("a free port")
}

/// Waits until `condition` returns a value; checks every 20 ms.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A small HTTP server with one page for every path.
pub struct Page {
    task: JoinHandle<()>,
}

impl Page {
    pub async fn serve(address: SocketAddr, text: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
                    let page = format!("{head}Content-Length: {}\r\n\r\n{text}", text.len());
                    let _ = stream.write_all(page.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { task }
    }

    /// Stops listening; returns when the port refuses connections.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Runs a program that must succeed and returns its standard output.
pub async fn output(program: &str, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = run(program, arguments).await;
    assert!(status.success(), "{program} {arguments:?}: {status}\n{stderr}{stdout}");
    stdout
}

/// Runs a program that may fail, and returns its standard output and then its standard error.
pub async fn output_even_if_failed(program: &str, arguments: &[&str]) -> String {
    let (_, stdout, stderr) = run(program, arguments).await;
    stdout + &stderr
}

async fn run(program: &str, arguments: &[&str]) -> (ExitStatus, String, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error} (is it installed?)"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status, text(output.stdout), text(output.stderr))
}

/// Runs a shell script in a mount namespace of its own whose only name server is `nameserver`, port
/// 53. Each of its commands must succeed.
pub async fn with_resolv_conf(folder: &Path, nameserver: &str, script: &str) -> String {
    let path = folder.join("resolv.conf");
    File::create(&path).unwrap().write_all(format!("nameserver {nameserver}\n").as_bytes()).unwrap();
    let script = format!(
        "set -e; mount --make-rprivate /; mount --bind {} /etc/resolv.conf; {script}",
        path.display()
    );
    output("unshare", &["--mount", "sh", "-c", &script]).await
}

/// The value below which `part` of the sorted durations lie.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64) * part).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}
