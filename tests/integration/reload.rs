//! Changes of the configuration while the server answers: by the signal, the command and the file
//! watcher.

mod consul;

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use hickory_proto::op::ResponseCode;
use testkit::{
    process::{Answer, MusterProcess, ask, http},
    wait::wait_for,
};

use crate::MUSTER;

use consul::FakeConsul;

const LISTEN: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";

/// A namespace with one service of these static instances. Its TTL marks the edit.
fn shop(ttl: u32, more: &str, instances: &[&str]) -> String {
    let instances: Vec<_> = instances.iter().map(|ip| format!("\"{ip}:80\"")).collect();
    format!(
        "namespace = \"shop\"\nttl = {ttl}\n[services.web]\n{more}\nfrom = [{{ static = [{}] }}]\n",
        instances.join(", ")
    )
}

/// Queries without a pause while `test` runs; every answer must be good, and `check` sees each.
fn with_client<T>(
    muster: &MusterProcess,
    check: impl Fn(&Answer) + Send + 'static,
    test: impl FnOnce() -> T,
) -> T {
    let (dns, done) = (muster.dns, Arc::new(AtomicBool::new(false)));
    let asked = Arc::new(AtomicUsize::new(0));
    let client = thread::spawn({
        let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
        move || {
            while !done.load(Ordering::Relaxed) {
                let answer = ask(dns, "web.shop."); // panics where none comes
                assert_eq!(answer.code, ResponseCode::NoError);
                assert!(!answer.addresses.is_empty(), "an empty answer");
                check(&answer);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    wait_for("the client asks", || asked.load(Ordering::Relaxed) > 0 || client.is_finished());
    let result = test();
    let so_far = asked.load(Ordering::Relaxed);
    wait_for("the client still asks", || asked.load(Ordering::Relaxed) > so_far || client.is_finished());
    done.store(true, Ordering::Relaxed);
    client.join().expect("every question of the client is answered well");
    result
}

#[test]
fn edits_and_signals_lose_no_query_and_the_next_lookup_follows() {
    let [one, other] = [["127.0.0.11", "127.0.0.12"], ["127.0.0.12", "127.0.0.13"]];
    let muster =
        MusterProcess::start(MUSTER, &[("muster.toml", LISTEN), ("zones/shop.toml", &shop(0, "", &one))]);
    let check = move |answer: &Answer| {
        let whole: BTreeSet<_> = answer.addresses.iter().map(String::as_str).collect();
        assert!([one, other].iter().any(|set| whole == BTreeSet::from(*set)), "a mixture: {whole:?}");
    };
    with_client(&muster, check, || {
        for edit in 1..=20 {
            let instances = if edit % 2 == 0 { one } else { other };
            muster.write("zones/shop.toml", &shop(edit, "", &instances));
            muster.hang_up();
            wait_for("the edit", || {
                let answer = ask(muster.dns, "web.shop.");
                answer.ttl == edit
                    && answer.addresses.iter().all(|address| instances.contains(&address.as_str()))
            });
        }
    });
}

#[test]
fn rotation_goes_on_over_a_reload() {
    let instances: Vec<_> = (1..=5).map(|last| format!("127.0.0.{last}")).collect();
    let instances: Vec<_> = instances.iter().map(String::as_str).collect();
    let zone = |ttl, other: &str| shop(ttl, "max_answers = 1", &instances) + other;
    let muster = MusterProcess::start(MUSTER, &[("muster.toml", LISTEN), ("zones/shop.toml", &zone(0, ""))]);
    let mut seen = Vec::new();
    for round in 1..=5 {
        for _ in 0..round {
            seen.push(ask(muster.dns, "web.shop.").addresses.remove(0));
        }
        // A new service sorts before it, so the cursors move.
        let other = format!("[services.a{round}]\nfrom = [{{ static = [\"127.0.0.9:1\"] }}]");
        muster.write("zones/shop.toml", &zone(round, &other));
        assert_eq!(muster.reload(&[]).code, 0);
    }
    let first = instances.iter().position(|instance| **instance == seen[0]).unwrap();
    let expected: Vec<_> = instances.iter().cycle().skip(first).take(seen.len()).collect();
    assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let muster = MusterProcess::start(
        MUSTER,
        &[("muster.toml", LISTEN), ("zones/shop.toml", &shop(1, "", &["127.0.0.11"]))],
    );
    let good = || {
        let answer = ask(muster.dns, "web.shop.");
        (answer.ttl, answer.addresses) == (1, vec!["127.0.0.11".to_owned()])
    };
    muster.write(
        "zones/shop.toml",
        "namespace = \"shop\"\nttl = 2\n[services.web]\nfrom = [{ statik = [] }]\n",
    );
    let reload = muster.reload(&[]);
    assert_eq!(reload.code, 2, "{reload:?}");
    let place = "zones/shop.toml:4:11";
    assert!(reload.stderr.contains(place) && reload.stderr.contains("statik"), "{reload:?}");
    assert!(reload.stderr.contains("keeping the running configuration"), "{reload:?}");
    assert!(good());
    let metrics = http(muster.admin, "GET", "/metrics", "");
    assert!(metrics.contains("muster_config_reloads_total{result=\"rejected\"} 1"), "{metrics}");
    assert!(metrics.contains("muster_config_last_reload_successful 0"), "{metrics}");
    let log = muster.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(place)).collect();
    assert_eq!(lines.len(), 1, "each diagnostic is logged once: {log}");

    // A command that finds the file itself reports the same without querying a server.
    let local = muster.reload_of_config();
    assert_eq!(local.code, 2);
    assert!(local.stderr.contains(place) && local.stderr.contains("reload not requested"), "{local:?}");

    // The commands that only look at the server need no valid zone file: this one gets as far as to see
    // that the file does not know the port.
    let services = muster.command_of_config("services");
    assert!(services.stderr.contains("has port 0") && !services.stderr.contains(place), "{services:?}");

    fs::remove_file(muster.path("muster.toml")).unwrap();
    let reload = muster.reload(&[]);
    assert!(reload.code == 2 && reload.stderr.contains("muster.toml"), "{reload:?}");
    assert!(good());

    muster.write("muster.toml", LISTEN);
    muster.write("zones/shop.toml", &shop(3, "", &["127.0.0.12"]));
    let reload = muster.reload(&[]);
    assert!(reload.code == 0 && reload.stdout.contains("applied"), "{reload:?}");
    wait_for("the edit", || ask(muster.dns, "web.shop.").addresses == ["127.0.0.12"]);
    let reload = muster.reload(&[]);
    assert!(reload.code == 0 && reload.stdout.contains("unchanged"), "{reload:?}");
    let metrics = http(muster.admin, "GET", "/metrics", "");
    assert!(metrics.contains("muster_config_last_reload_successful 1"), "{metrics}");
    assert!(metrics.contains("muster_config_reloads_total{result=\"unchanged\"} 1"), "{metrics}");
}

#[test]
fn what_takes_a_restart_is_said_and_the_rest_is_applied() {
    let muster = MusterProcess::start(
        MUSTER,
        &[("muster.toml", LISTEN), ("zones/shop.toml", &shop(1, "", &["127.0.0.11"]))],
    );
    muster.write("muster.toml", &format!("{LISTEN}workers = 2\n"));
    muster.write("zones/shop.toml", &shop(2, "", &["127.0.0.11"]));
    for result in ["applied", "unchanged"] {
        let reload = muster.reload(&[]);
        assert!(reload.code == 0 && reload.stdout.contains(result), "{reload:?}");
        assert!(reload.stdout.contains("[listen] has changed, which requires a restart"), "{reload:?}");
        assert_eq!(ask(muster.dns, "web.shop.").ttl, 2);
    }
    muster.write("muster.toml", &format!("{LISTEN}[access]\nallow = [\"127.0.0.0/8\"]\n"));
    let reload = muster.reload(&[]);
    assert!(reload.stdout.contains("[access] has changed"), "{reload:?}");
    assert!(!reload.stdout.contains("[listen]"), "as it was at the start: {reload:?}");
    let mut odd = muster.reload(&["--at", "http://127.0.0.1:1"]);
    assert!(odd.code == 1 && odd.stderr.contains("cannot reach"), "{odd:?}");
    odd = muster.reload(&["--at", "unix:///run/muster"]);
    assert!(odd.code == 1 && odd.stderr.contains("--at"), "{odd:?}");
}

#[test]
fn an_unchanged_source_is_kept_and_a_changed_one_retained() {
    let consul = FakeConsul::start();
    let server = |more: &str| {
        format!("{LISTEN}[consul.vms]\naddress = \"http://{}\"\nstale = false\n{more}\n", consul.address)
    };
    let zone = |ttl: u32, more: &str| {
        format!(
            "namespace = \"shop\"\nttl = {ttl}\n[services.web]\nfrom = [{{ consul = \"vms\", service = \"web\" }}]\n{more}"
        )
    };
    let muster =
        MusterProcess::start(MUSTER, &[("muster.toml", &server("")), ("zones/shop.toml", &zone(1, ""))]);
    wait_for("ready", || http(muster.admin, "GET", "/readyz", "").starts_with("HTTP/1.1 200"));
    wait_for("the next query waits", || consul.counts().1 == 2);
    let before = consul.counts();
    with_client(
        &muster,
        |_| {},
        || {
            let other = "[services.db]\nmax_answers = 1\nfrom = [{ static = [\"127.0.0.9:1\"] }]";
            muster.write("zones/shop.toml", &zone(2, other));
            assert_eq!(muster.reload(&[]).code, 0);
            assert_eq!(ask(muster.dns, "web.shop.").ttl, 2);
            assert_eq!(ask(muster.dns, "db.shop.").addresses, ["127.0.0.9"]);
            let ready = http(muster.admin, "GET", "/readyz", "");
            assert!(ready.contains("static: has data"), "{ready}");
            assert_eq!(consul.counts(), before, "connections and requests");

            // Now it restarts, and Consul no longer answers.
            consul.fall_silent();
            muster.write("muster.toml", &server("wait = \"10s\""));
            muster.write("zones/shop.toml", &zone(3, ""));
            assert_eq!(muster.reload(&[]).code, 0);
            assert_eq!(ask(muster.dns, "web.shop.").ttl, 3);
            wait_for("it is asked again", || consul.counts().1 == before.1 + 1);
            let ready = http(muster.admin, "GET", "/readyz", "");
            assert!(ready.starts_with("HTTP/1.1 200"), "it is answered from what was said before: {ready}");
            assert!(ready.contains("1 connecting") && !ready.contains("static"), "{ready}");
            let metrics = http(muster.admin, "GET", "/metrics", "");
            assert!(!metrics.contains("source=\"static\""), "a source that is gone is gone: {metrics}");
        },
    );
    assert_eq!(ask(muster.dns, "web.shop.").addresses, ["10.0.0.1"]);
}

#[test]
fn a_service_that_changes_its_source_is_always_answered() {
    let consul = FakeConsul::start();
    let server = format!("{LISTEN}[consul.vms]\naddress = \"http://{}\"\n", consul.address);
    let muster = MusterProcess::start(
        MUSTER,
        &[("muster.toml", &server), ("zones/shop.toml", &shop(1, "", &["127.0.0.11"]))],
    );
    with_client(
        &muster,
        |_| {},
        || {
            for (member, address) in [
                ("consul = \"vms\", service = \"web\"", "10.0.0.1"),
                ("static = [\"127.0.0.12:80\"]", "127.0.0.12"),
            ] {
                let zone = format!("namespace = \"shop\"\n[services.web]\nfrom = [{{ {member} }}]\n");
                muster.write("zones/shop.toml", &zone);
                assert_eq!(muster.reload(&[]).code, 0);
                wait_for(address, || ask(muster.dns, "web.shop.").addresses == [address]);
            }
        },
    );
}

#[test]
fn dead_instances_do_not_come_back_for_an_edit() {
    let live = TcpListener::bind("127.0.0.77:0").unwrap();
    let port = live.local_addr().unwrap().port();
    let zone = |ttl: u32, more: &str| {
        format!(
            "namespace = \"shop\"\nttl = {ttl}\n[services.web]\nfrom = [{{ static = [\"127.0.0.77:{port}\", \"127.0.0.78:{port}\"{more}], \
             check = {{ tcp = true, interval = \"1h\" }} }}]\n"
        )
    };
    let muster = MusterProcess::start(MUSTER, &[("muster.toml", LISTEN), ("zones/shop.toml", &zone(1, ""))]);
    wait_for("the dead one is out", || ask(muster.dns, "web.shop.").addresses == ["127.0.0.77"]);
    let check = |answer: &Answer| assert!(!answer.addresses.contains(&"127.0.0.78".to_owned()), "{answer:?}");
    with_client(&muster, check, || {
        for edit in 2..6 {
            // The first two do not change the member; the others add an instance, which is probed.
            let more = if edit < 4 { String::new() } else { format!(", \"127.0.0.{edit}:1\"") };
            muster.write("zones/shop.toml", &zone(edit, &more));
            assert_eq!(muster.reload(&[]).code, 0);
            assert_eq!(ask(muster.dns, "web.shop.").ttl, edit);
        }
        // After the last edit, the first probe of its instance is done.
        wait_for("the new one is known to be dead", || {
            let metrics = http(muster.admin, "GET", "/metrics", "");
            metrics.contains("muster_catalog_instances{health=\"unhealthy\"} 2")
        });
    });
}

#[test]
fn the_watcher_follows_files_and_swapped_links() {
    // Files as the kubelet mounts a ConfigMap: links into `..data`, a link that is swapped.
    let main = format!("watch_files = true\n{LISTEN}");
    let muster = MusterProcess::start_with(MUSTER, &[("muster.toml", &main)], |folder| {
        fs::create_dir_all(folder.join("zones/..1")).unwrap();
        fs::write(folder.join("zones/..1/shop.toml"), shop(1, "", &["127.0.0.11"])).unwrap();
        symlink("..1", folder.join("zones/..data")).unwrap();
        symlink("..data/shop.toml", folder.join("zones/shop.toml")).unwrap();
    });
    let swap = |to: &str, text: &str| {
        muster.write(&format!("zones/{to}/shop.toml"), text);
        symlink(to, muster.path("zones/..new")).unwrap();
        fs::rename(muster.path("zones/..new"), muster.path("zones/..data")).unwrap();
    };
    with_client(
        &muster,
        |_| {},
        || {
            swap("..2", &shop(2, "", &["127.0.0.11"]));
            wait_for("the swap", || ask(muster.dns, "web.shop.").ttl == 2);
            swap("..3", "namespace = \"shop\"\nttl = 3\nnonsense = 1\n");
            wait_for("the refusal", || muster.log().contains("nonsense"));
            assert_eq!(ask(muster.dns, "web.shop.").ttl, 2);
            swap("..4", &shop(4, "", &["127.0.0.11"]));
            wait_for("the mended one", || ask(muster.dns, "web.shop.").ttl == 4);
            // A namespace in a new file.
            muster.write("zones/other.toml", &shop(5, "", &["127.0.0.12"]).replace("shop", "other"));
            wait_for("the new one", || ask(muster.dns, "web.other.").ttl == 5);
            // The file turns the watcher itself off.
            muster.write("muster.toml", LISTEN);
            wait_for("it is applied", || muster.log().matches("configuration is in effect").count() >= 4);
        },
    );
    assert_eq!(muster.log().matches("nonsense").count(), 1, "once, not at every look");
}

#[test]
fn the_demo_says_that_there_is_nothing_to_read_again() {
    let mut config = muster::config::demo().unwrap().config;
    config.listen.dns = vec!["127.0.0.1:0".parse().unwrap()];
    config.listen.admin = Some("127.0.0.1:0".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(muster::app::Server::start(&config)).unwrap();
    let answer = http(server.admin().unwrap(), "POST", "/v1/reload", "X-Muster: reload\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 422") && answer.contains("write a muster.toml and restart"),
        "{answer}"
    );
    runtime.block_on(server.stop());
}

#[test]
fn another_configuration_can_be_given_from_within() {
    let load = |ttl| {
        let files = [
            ("muster.toml".into(), LISTEN.to_owned()),
            ("zones/shop.toml".into(), shop(ttl, "", &["127.0.0.11"])),
        ];
        muster::config::load_from(&files).unwrap().config
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(muster::app::Server::start(&load(1))).unwrap();
    let swapped = Arc::downgrade(&server.cell().load_full());
    for (ttl, result) in [(2, "applied"), (2, "unchanged")] {
        let reloaded = runtime.block_on(server.apply(load(ttl))).unwrap();
        assert_eq!(reloaded.result.as_str(), result);
        assert_eq!(ask(server.dns()[0], "web.shop.").ttl, 2);
    }
    assert!(swapped.upgrade().is_none(), "the old snapshot is freed");
    runtime.block_on(server.stop());
}
