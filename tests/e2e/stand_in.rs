//! muster in place of a machine's resolver, and queried from outside: in a mount and network
//! namespace of the test, where every address belongs to the loopback interface.

use std::{fs, path::Path};

use crate::rig::{has, is_installed, output, server};

const ZONE: &str = "namespace = \"shop.test\"\n\
    [services.web]\nfrom = [{ static = [\"127.0.0.11:8080\", \"127.0.0.12:8080\"] }]\n\
    [services.dual]\nfrom = [{ static = [\"127.0.0.11:8080\", \"[::1]:8080\"] }]\n";

/// Runs a script in namespaces of its own, with muster on port 53 as `listen` and `tables` of
/// `muster.toml` configure it. Each of its commands must succeed; processes that it starts end with
/// it.
async fn run(folder: &Path, listen: &str, tables: &str, script: &str) -> String {
    fs::create_dir_all(folder.join("zones")).unwrap();
    fs::write(folder.join("zones/shop.toml"), ZONE).unwrap();
    fs::write(folder.join("muster.toml"), format!("[listen]\ndns = {listen}\n{tables}\n")).unwrap();
    let script = format!(
        "set -e\n\
         mount --make-rprivate /\n\
         ip link set lo up\n\
         # An address that is not loopback: without one the C library thinks that there is no IPv4 (AI_ADDRCONFIG).\n\
         for address in 192.0.2.1/32 203.0.113.7/32 203.0.113.66/32 10.9.8.7/32 2001:db8::7/128; do\n\
           ip address add $address dev lo\n\
         done\n\
         start() {{ \"$@\" >>{folder}/log 2>&1 & }}\n\
         until_answered() {{\n\
           for at in $(seq 200); do dig +short +tries=1 +time=1 \"$@\" 2>/dev/null | grep -q '^[0-9]' && return; sleep 0.05; done\n\
           cat {folder}/log; false\n\
         }}\n\
         muster={muster}\n\
         cd {folder}\n\
         start $muster serve --config muster.toml\n\
         until_answered @127.0.0.1 web.shop.test\n\
         {script}\n",
        folder = folder.display(),
        muster = env!("CARGO_BIN_EXE_muster"),
    );
    // A process namespace ends with its first process.
    let namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    output("unshare", &[&namespaces[..], &["sh", "-c", &script]].concat()).await
}

/// A shell function: the response code that dig gets from an address, or `silence`.
const SHELL_CODE: &str = "code() {\n\
    text=$(dig -b $1 @$2 +tries=1 +time=1 $3 $4 || true)\n\
    echo \"$1 $3 $(echo \"$text\" | sed -n 's/.*status: \\([A-Z]*\\).*/\\1/p' | grep . || echo silence)\"\n\
    }\n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces: make e2e"]
async fn an_outside_address_is_refused_unless_access_says_otherwise() {
    let asked = "code 203.0.113.7 192.0.2.1 web.shop.test\n\
        code 203.0.113.7 192.0.2.1 example.com\n\
        code 203.0.113.66 192.0.2.1 web.shop.test\n\
        code 10.9.8.7 192.0.2.1 web.shop.test\n\
        code 2001:db8::7 ::1 web.shop.test\n\
        code 203.0.113.7 192.0.2.1 web.shop.test +tcp\n";
    let script = format!("{SHELL_CODE}{asked}");
    for listen in ["[\"0.0.0.0:53\", \"[::]:53\"]", "[\"127.0.0.1:53\", \"192.0.2.1:53\", \"[::1]:53\"]"] {
        let folder = tempfile::tempdir().unwrap();
        let closed = run(folder.path(), listen, "", &script).await;
        assert_eq!(
            closed.lines().collect::<Vec<_>>(),
            [
                "203.0.113.7 web.shop.test REFUSED",
                "203.0.113.7 example.com REFUSED",
                "203.0.113.66 web.shop.test REFUSED",
                "10.9.8.7 web.shop.test NOERROR",
                "2001:db8::7 web.shop.test REFUSED",
                "203.0.113.7 web.shop.test REFUSED",
            ]
        );
        let folder = tempfile::tempdir().unwrap();
        let access = "[access]\nallow = [\"private\", \"203.0.113.0/24\"]\ndeny = \"203.0.113.66\"\n";
        let open = run(folder.path(), listen, access, &script).await;
        assert_eq!(
            open.lines().collect::<Vec<_>>(),
            [
                "203.0.113.7 web.shop.test NOERROR",
                "203.0.113.7 example.com REFUSED",
                "203.0.113.66 web.shop.test silence",
                "10.9.8.7 web.shop.test NOERROR",
                "2001:db8::7 web.shop.test REFUSED",
                "203.0.113.7 web.shop.test NOERROR",
            ]
        );
        println!("{listen}: closed\n{closed}with [access] allow\n{open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces: make e2e"]
async fn rate_limits_spare_dig_with_its_cookie() {
    let access = "[access]\nallow = \"any\"\n[access.responses]\nper_second = 1\nslip = 0\n";
    let script = "many() {\n\
          from=$1; shift\n\
          dig -b $from @192.0.2.1 +tries=1 +time=1 +short -f questions \"$@\" | grep -c 127.0.0.11 || true\n\
        }\n\
        cookie=$(dig -b 203.0.113.7 @192.0.2.1 +cookie web.shop.test | sed -n 's/.*COOKIE: \\([0-9a-f]*\\).*/\\1/p')\n\
        echo cookies $(many 203.0.113.7 +cookie=$cookie)\n\
        echo plain $(many 203.0.113.7 +nocookie)\n\
        echo private $(many 10.9.8.7 +nocookie)\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("questions"), "web.shop.test A\n".repeat(8)).unwrap();
    let text = run(folder.path(), "[\"127.0.0.1:53\", \"192.0.2.1:53\"]", access, script).await;
    println!("{text}");
    let count = |what: &str| -> u32 {
        let line = text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().parse().unwrap()
    };
    assert_eq!((count("cookies"), count("private")), (8, 8));
    // dig sends one query at a time and waits a second for each missing answer: every other one.
    assert!((1..8).contains(&count("plain")), "{text}");
}

/// Asserts that every client on this machine has found what it must.
fn assert_found(text: &str, expected: &[(&str, &str)]) {
    println!("{text}");
    let is_left_out = |client: &str| {
        FURTHER_CLIENTS.iter().any(|(program, _)| client.strip_suffix(':') == Some(program) && !has(program))
    };
    for (client, found) in expected.iter().filter(|(client, _)| !is_left_out(client)) {
        assert!(
            text.lines().any(|line| line.strip_prefix(client).is_some_and(|rest| rest.contains(found))),
            "{client} has not found {found}:\n{text}"
        );
    }
}

/// Java keeps failures for 10 s, and takes seconds to start on a busy machine; the others get four.
const CLIENTS: &str = "ask() { name=$1; shift; echo \"$name: $(timeout ${patience:-4} \"$@\" | tr '\\n' ' ')\"; }\n\
    ask getent getent ahosts web.shop.test\n\
    ask dual getent ahosts dual.shop.test\n\
    ask short getent hosts web\n\
    ask below-localhost getent ahostsv4 app.localhost\n\
    ask reverse dig +short -x 127.0.0.1\n\
    ask other getent ahosts www.other.example\n\
    ask other-missing dig +noall +comments nothing.other.example\n\
    ask curl curl -sS http://web.shop.test:8080/\n\
    ask python3 python3 -c 'import socket; print(socket.gethostbyname_ex(\"web.shop.test\"))'\n\
    echo \"missing: $(timeout 4 getent hosts nothing.shop.test || echo none)\"\n";

/// Clients that some machines lack: the program they need, and their query. Java's compiler runs a
/// source file.
const FURTHER_CLIENTS: [(&str, &str); 3] = [
    ("musl-gcc", "musl-gcc -static -o find find.c; ask musl-gcc ./find dual.shop.test\n"),
    ("node", "ask node node find.js\n"),
    ("javac", "patience=30 ask javac java Find.java\n"),
];

/// The network's resolver, on 127.0.0.60: it has external names.
const OTHERS: &str = "mkdir other\n\
    printf 'namespace = \"other.example\"\\n[services.www]\\nfrom = [{ static = [\"192.0.2.80:80\", \"[2001:db8::80]:80\"] }]\\n' >other/zone.toml\n\
    printf 'zones = \"other\"\\n[listen]\\ndns = \"127.0.0.60:53\"\\n' >other.toml\n\
    start $muster serve --config other.toml\n\
    until_answered @127.0.0.60 www.other.example\n";

const FIND_JS: &str = "const dns = require('dns').promises;\n\
    (async () => {\n\
      console.log(JSON.stringify(await dns.lookup('dual.shop.test', { all: true })));\n\
      console.log(JSON.stringify(await dns.resolve4('dual.shop.test')));\n\
      console.log(JSON.stringify(await dns.resolveSrv('web.shop.test')));\n\
    })();\n";

const FIND_JAVA: &str = "import java.net.InetAddress;\n\
    public class Find {\n\
      public static void main(String[] words) throws Exception {\n\
        for (InetAddress found : InetAddress.getAllByName(\"dual.shop.test\"))\n\
          System.out.println(found.getHostAddress().replace(\"0:0:0:0:0:0:0:1\", \"::1\"));\n\
      }\n\
    }\n";

const FIND: &str = "#include <netdb.h>\n#include <stdio.h>\n#include <arpa/inet.h>\n\
    int main(int count, char **words) {\n\
      struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;\n\
      char text[64];\n\
      if (count < 2 || getaddrinfo(words[1], 0, &hints, &found)) return 1;\n\
      for (; found; found = found->ai_next) {\n\
        void *address = found->ai_family == AF_INET\n\
          ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr\n\
          : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;\n\
        puts(inet_ntop(found->ai_family, address, text, sizeof text));\n\
      }\n\
    }\n";

const FOUND: &[(&str, &str)] = &[
    ("getent:", "127.0.0.11"),
    ("getent:", "127.0.0.12"),
    ("dual:", "127.0.0.11"),
    ("dual:", "::1"),
    ("short:", "web.shop.test"),
    ("below-localhost:", "127.0.0.1"),
    ("reverse:", "localhost."),
    ("curl:", "a page"),
    ("python3:", "127.0.0.12"),
    ("musl-gcc:", "127.0.0.11"),
    ("musl-gcc:", "::1"),
    ("node:", "127.0.0.11"),
    ("node:", "::1"),
    ("javac:", "127.0.0.11"),
    ("javac:", "::1"),
    ("missing:", "none"),
    ("other:", "192.0.2.80"),
    ("other:", "2001:db8::80"),
    ("other-missing:", "NXDOMAIN"),
];

/// Serves a page on every address and the external names, and lets the clients query the server in
/// `resolv.conf`.
fn with_clients(folder: &Path, before: &str) -> String {
    fs::create_dir_all(folder.join("site")).unwrap();
    fs::write(folder.join("site/index.html"), "a page\n").unwrap();
    for (name, text) in [("find.c", FIND), ("find.js", FIND_JS), ("Find.java", FIND_JAVA)] {
        fs::write(folder.join(name), text).unwrap();
    }
    let further: String =
        FURTHER_CLIENTS.iter().filter(|(program, _)| has(program)).map(|(_, ask)| *ask).collect();
    format!(
        "{OTHERS}\
         start python3 -m http.server 8080 --bind 127.0.0.11 --directory site\n\
         start python3 -m http.server 8080 --bind 127.0.0.12 --directory site\n\
         for address in 127.0.0.11 127.0.0.12; do\n\
           for at in $(seq 200); do curl -s -o /dev/null http://$address:8080/ && break; sleep 0.05; done\n\
         done\n\
         {before}\n\
         mount --bind resolv.conf /etc/resolv.conf\n\
         {CLIENTS}{further}"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces: make e2e"]
async fn clients_with_muster_as_only_name_server_find_all_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("resolv.conf"), "nameserver 10.0.0.2\nsearch shop.test\n").unwrap();
    let install = "! $muster resolv-conf --config muster.toml --install --path resolv.conf --address 127.0.0.61\n\
        grep -q 'nameserver 10.0.0.2' resolv.conf\n\
        $muster resolv-conf --config muster.toml --install --path resolv.conf 2>/dev/null\n\
        grep -q 'nameserver 127.0.0.1' resolv.conf\n";
    let script = with_clients(folder.path(), install);
    let text = run(folder.path(), "\"127.0.0.1:53\"", FORWARD, &script).await;
    assert_found(&text, FOUND);
}

/// muster forwards all external names to the network's resolver.
const FORWARD: &str = "[forward]\n\".\" = \"127.0.0.60\"\n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces, needs unbound: make e2e"]
async fn unbound_in_front_is_told_by_what_is_printed_for_it() {
    if !has("unbound") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let unbound = format!(
        "$muster resolv-conf --config muster.toml --for unbound >stub.conf 2>/dev/null\n\
         printf 'server:\\n  interface: 127.0.0.54\\n  port: 53\\n  access-control: 127.0.0.0/8 allow\\n  chroot: \"\"\\n  \
           username: \"\"\\n  directory: \"{path}\"\\n  pidfile: \"\"\\n  use-syslog: no\\n  do-daemonize: no\\n  \
           module-config: \"iterator\"\\nremote-control:\\n  control-enable: no\\ninclude: {path}/stub.conf\\n\
           forward-zone:\\n  name: \".\"\\n  forward-addr: 127.0.0.60\\n' >unbound.conf\n\
         start unbound -d -c unbound.conf\n\
         until_answered @127.0.0.54 web.shop.test\n\
         printf 'nameserver 127.0.0.54\\nsearch shop.test\\n' >resolv.conf\n"
    );
    let script = with_clients(folder.path(), &unbound);
    let text = run(folder.path(), "[\"127.0.0.1:53\"]", "", &script).await;
    assert_found(&text, FOUND);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces, needs systemd-resolved: make e2e"]
async fn systemd_resolved_in_front_is_told_by_what_is_printed_for_it() {
    if !is_installed("systemd-resolved") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let resolved = format!(
        "{SYSTEMD}\
         ip address add 10.77.0.1/24 dev one; ip link set one up\n\
         $muster resolv-conf --config muster.toml --for systemd-resolved 2>/dev/null \
           >/etc/systemd/resolved.conf.d/muster.conf\n\
         {}",
        start_resolved(),
    );
    let script = with_clients(folder.path(), &resolved);
    let text = run(folder.path(), "[\"127.0.0.1:53\"]", FORWARD, &script).await;
    assert_found(&text, FOUND);
}

/// If muster forwards nothing, its namespaces get a link of their own, so that it gets no other
/// query.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces, needs systemd-resolved and systemd-networkd: make e2e"]
async fn systemd_resolved_asks_muster_for_own_names_only() {
    const NETWORKD: &str = "/lib/systemd/systemd-networkd";
    if !is_installed("systemd-resolved") || !has("networkctl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // If the kernel has no dummy links, a veth pair does as well.
    let resolved = format!(
        "{SYSTEMD}\
         $muster resolv-conf --config muster.toml --for systemd-resolved 2>/dev/null >both\n\
         sed '/muster.network$/,$d' both >/etc/systemd/network/muster.netdev\n\
         sed '1,/muster.network$/d' both >/etc/systemd/network/muster.network\n\
         grep -q dummy /etc/systemd/network/muster.netdev\n\
         printf '[Match]\\nName=one\\n[Network]\\nAddress=10.77.0.1/24\\nDNS=127.0.0.60\\n' >/etc/systemd/network/one.network\n\
         if ip link add name trial type dummy; then ip link delete trial\n\
         else\n\
           rm /etc/systemd/network/muster.netdev\n\
           ip link add muster type veth peer name outside; ip link set outside up\n\
         fi\n\
         start {NETWORKD}\n\
         {}\
         until_answered @127.0.0.53 www.other.example\n",
        start_resolved(),
    );
    let counted = "echo refused: $(curl -sS http://127.0.0.1:5380/metrics | \
        sed -n 's/^muster_queries_total.*REFUSED.* //p' | sort -u)\n";
    let script = with_clients(folder.path(), &resolved) + counted;
    let listen = "[\"127.0.0.1:53\"]\nadmin = \"127.0.0.1:5380\"";
    let text = run(folder.path(), listen, "", &script).await;
    assert_found(&text, FOUND);
    assert_eq!(text.lines().last(), Some("refused: 0"), "muster was asked for others' names:\n{text}");
}

/// What systemd's servers need: users, their folders, and a link that is up and not loopback. With
/// a read-only `/sys` they do not wait for udev.
const SYSTEMD: &str = "ip link add one type veth peer name other; ip link set other up\n\
         mount -t sysfs -o ro sysfs /sys\n\
         mount -t tmpfs tmpfs /run\n\
         mount -t tmpfs tmpfs /etc/systemd\n\
         mkdir -p /run/systemd/resolve /run/systemd/netif /etc/systemd/resolved.conf.d /etc/systemd/network\n\
         mkdir /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp\n\
         user() {\n\
           id $1 >/dev/null 2>&1 && return\n\
           (cat /etc/passwd; echo $1:x:$2:$2::/:/usr/sbin/nologin) >passwd.$1\n\
           (cat /etc/group; echo $1:x:$2:) >group.$1\n\
           mount --bind passwd.$1 /etc/passwd; mount --bind group.$1 /etc/group\n\
         }\n\
         user systemd-resolve 64001; user systemd-network 64002\n\
         chown systemd-resolve:systemd-resolve /run/systemd/resolve\n\
         chown -R systemd-network:systemd-network /run/systemd/netif\n";

/// systemd-resolved also reads the programs' file for its upstreams, so it must exist before.
fn start_resolved() -> String {
    format!(
        "printf 'nameserver 127.0.0.53\\noptions edns0 trust-ad\\nsearch shop.test\\n' >resolv.conf\n\
         mount --bind resolv.conf /etc/resolv.conf\n\
         start {}\n\
         until_answered @127.0.0.53 web.shop.test\n",
        server("systemd-resolved").display()
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes namespaces, needs dnsmasq: make e2e"]
async fn dnsmasq_in_front_is_told_by_what_is_printed_for_it() {
    if !has("dnsmasq") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dnsmasq = "$muster resolv-conf --config muster.toml --for dnsmasq >shop.conf 2>/dev/null\n\
        start dnsmasq --keep-in-foreground --no-hosts --no-resolv --user=root --pid-file= --bind-interfaces \
          --listen-address=127.0.0.54 --stop-dns-rebind --rebind-domain-ok=/other.example/ --server=127.0.0.60 --conf-file=shop.conf\n\
        until_answered @127.0.0.54 web.shop.test\n\
        printf 'nameserver 127.0.0.54\\nsearch shop.test\\n' >resolv.conf\n";
    let script = with_clients(folder.path(), dnsmasq);
    // `--stop-dns-rebind` applies to all names but those.
    let text = run(folder.path(), "[\"127.0.0.1:53\"]", "", &script).await;
    let rest: Vec<_> = FOUND.iter().copied().filter(|(client, _)| *client != "below-localhost:").collect();
    assert_found(&text, &rest);
}
