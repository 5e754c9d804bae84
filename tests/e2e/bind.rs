//! BIND as an upstream: an authority for one signed zone, on loopback.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::rig::{Process, free_port, output, output_even_if_failed, wait_for};

/// The zone's name.
pub const ZONE: &str = "signed.example";

/// One record of every type that has a text form of its own, an unknown one, chains, and 4 KiB of
/// TXT.
const RECORDS: &str = r#"
@           SOA ns hostmaster 1 3600 600 86400 5
@           NS ns
@           MX 10 mail
@           CAA 0 issue "ca.example"
@           TXT "a text" "and another"
ns          A 127.0.0.1
mail        A 192.0.2.25
mail        AAAA 2001:db8::25
a           A 192.0.2.1
a           A 192.0.2.2
aaaa        AAAA 2001:db8::1
chain1      CNAME chain2
chain2      CNAME chain3
chain3      CNAME a
dangling    CNAME nowhere
away        CNAME www.elsewhere.test.
dname       DNAME a
ptr         PTR a
srv         SRV 1 2 80 mail
naptr       NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
svcb        SVCB 1 svc alpn=h2 port=8443
https       HTTPS 1 . alpn=h3 ipv4hint=192.0.2.1
sshfp       SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
tlsa        TLSA 3 1 1 92003ba34942dc74152e2f2c408d29eca5a520e7f2e06bb944f4dca346baf63c
loc         LOC 42 21 54 N 71 6 18 W -24m 30m
hinfo       HINFO "PC" "Linux"
rp          RP mail mail
afsdb       AFSDB 1 mail
uri         URI 10 1 "ftp://ftp.example/public"
eui48       EUI48 00-00-5e-00-53-2a
eui64       EUI64 00-00-5e-ef-10-00-00-2a
unknown     TYPE65280 \# 5 c00cff0080
ds          NS ns
ds          DS 60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
*.load      A 192.0.2.9
"#;

pub struct Bind {
    process: Process,
    pub address: SocketAddr,
}

/// Writes the zone and its signed form; returns the file and a file of trust anchors for `delv`.
pub async fn sign(folder: &Path) -> (PathBuf, PathBuf) {
    let mut zone = format!("$TTL 60\n$ORIGIN {ZONE}.\n{RECORDS}");
    for at in 0..16 {
        let _ = writeln!(zone, "big TXT \"{at:0250}\"");
    }
    let path = folder.join("zone");
    std::fs::write(&path, zone).unwrap();
    let folder_text = folder.display().to_string();
    let key =
        output("dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K", &folder_text, ZONE])
            .await;
    output("dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-K", &folder_text, ZONE]).await;
    let signed = path.with_extension("signed");
    let (path, to) = (path.display().to_string(), signed.display().to_string());
    output("dnssec-signzone", &["-S", "-K", &folder_text, "-d", &folder_text, "-o", ZONE, "-f", &to, &path])
        .await;
    let key = std::fs::read_to_string(folder.join(format!("{}.key", key.trim()))).unwrap();
    let key: Vec<_> = key.lines().rfind(|line| line.contains("DNSKEY")).unwrap().split_whitespace().collect();
    let at = key.iter().position(|word| *word == "DNSKEY").unwrap();
    let [flags, protocol, algorithm, data @ ..] = &key[at + 1..] else { panic!("{key:?}") };
    let anchors = folder.join("anchors");
    let anchor = format!("\"{ZONE}.\" static-key {flags} {protocol} {algorithm} \"{}\";", data.concat());
    std::fs::write(&anchors, format!("trust-anchors {{ {anchor} }};\n")).unwrap();
    (signed, anchors)
}

impl Bind {
    /// Starts it with a zone file. It queries no other server.
    pub async fn start(folder: &Path, zone: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let own = folder.join(format!("bind-{}", address.port()));
        std::fs::create_dir_all(&own).unwrap();
        let text = format!(
            "options {{ directory {own:?}; pid-file none; session-keyfile none; lock-file none; recursion no; \
             dnssec-validation no; notify no; empty-zones-enable no; minimal-responses no; minimal-any no; \
             listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; allow-query {{ any; }}; }};\n\
             controls {{ }};\nzone \"{ZONE}\" {{ type primary; file {zone:?}; }};\n",
            address.port()
        );
        let config = own.join("named.conf");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/named");
        command.args(["-g", "-n", "1", "-c"]).arg(&config);
        let process = Process::start(&mut command, own.join("log"));
        let mut bind = Self { process, address };
        wait_for("BIND answers", || {
            let ended = bind.process.has_ended();
            assert!(!ended, "BIND has ended:\n{}", bind.process.log());
            let port = bind.address.port().to_string();
            async move {
                let arguments = ["@127.0.0.1", "-p", &port, "+tries=1", "+time=1", "soa", ZONE];
                output_even_if_failed("dig", &arguments).await.contains("status: NOERROR").then_some(())
            }
        })
        .await;
        bind
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
