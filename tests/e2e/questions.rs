//! RFC 8906's tests, sent by `dig`.

use std::process::ExitStatus;

use crate::{muster::Muster, rig::output_even_if_failed};

const ZONE: &str = "namespace = \"shop\"\nmax_answers = 100\n\
    [services.web]\nfrom = [{ static = [\"10.0.0.1:80\", \"10.0.0.2:80\"] }]\n";

/// Section of RFC 8906, arguments of dig, what its output must have and must not have.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs dig: make e2e"]
async fn dig_gets_what_rfc_8906_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let zone = (0..60).fold(format!("{ZONE}[services.big]\nfrom = [{{ static = ["), |zone, at| {
        format!("{zone}\"10.0.1.{at}:80\", ")
    }) + "] }]\n";
    let muster = Muster::start(folder.path(), "", &zone).await;
    muster.ready().await;
    let port = muster.dns.port().to_string();
    let table: &[Row] = &[
        (
            "8.1.1 SOA",
            &["+noedns", "+noad", "soa", "shop"],
            &["status: NOERROR", "flags: qr aa rd;", "SOA"],
            &["OPT"],
        ),
        (
            "8.1.2 unknown type",
            &["+noedns", "+noad", "type1000", "shop"],
            &["status: NOERROR", "ANSWER: 0", "flags: qr aa rd;"],
            &[],
        ),
        (
            "8.1.3.1 CD",
            &["+noedns", "+noad", "+cd", "soa", "shop"],
            &["status: NOERROR", "flags: qr aa rd cd;"],
            &[],
        ),
        ("8.1.3.2 AD", &["+noedns", "+ad", "soa", "shop"], &["status: NOERROR", "flags: qr aa rd;"], &[]),
        (
            "8.1.3.3 reserved flag",
            &["+noedns", "+noad", "+zflag", "soa", "shop"],
            &["status: NOERROR"],
            &["MBZ"],
        ),
        (
            "8.1.3.4 RD",
            &["+noedns", "+noad", "+norec", "soa", "shop"],
            &["status: NOERROR", "flags: qr aa;"],
            &[],
        ),
        (
            "8.1.4 unknown opcode",
            &["+noedns", "+noad", "+opcode=15", "+norec", "+header-only"],
            &["status: NOTIMP", "opcode: RESERVED15"],
            &[],
        ),
        ("8.1.5 TCP", &["+noedns", "+noad", "+tcp", "soa", "shop"], &["status: NOERROR", "(TCP)"], &[]),
        (
            "8.2.1 EDNS 0",
            &["+edns=0", "+nocookie", "+noad", "soa", "shop"],
            &["status: NOERROR", "EDNS: version: 0", "udp: 1232"],
            &[],
        ),
        (
            "8.2.2 EDNS 1",
            &["+edns=1", "+noednsneg", "+nocookie", "+noad", "soa", "shop"],
            &["status: BADVERS", "EDNS: version: 0", "ANSWER: 0"],
            &[],
        ),
        (
            "8.2.3 unknown option",
            &["+edns=0", "+nocookie", "+noad", "+ednsopt=100", "soa", "shop"],
            &["status: NOERROR", "EDNS: version: 0", "ANSWER: 1"],
            &["OPT=100"],
        ),
        (
            "8.2.4 unknown EDNS flag",
            &["+edns=0", "+nocookie", "+noad", "+ednsflags=0x40", "soa", "shop"],
            &["status: NOERROR"],
            &["MBZ"],
        ),
        (
            "8.2.5 EDNS 1 with unknown flag",
            &["+edns=1", "+noednsneg", "+nocookie", "+noad", "+ednsflags=0x40", "soa", "shop"],
            &["status: BADVERS"],
            &["MBZ"],
        ),
        (
            "8.2.6 EDNS 1 with unknown option",
            &["+edns=1", "+noednsneg", "+nocookie", "+noad", "+ednsopt=100", "soa", "shop"],
            &["status: BADVERS"],
            &["OPT=100"],
        ),
        (
            "8.2.8 DO",
            &["+edns=0", "+nocookie", "+noad", "+dnssec", "soa", "shop"],
            &["status: NOERROR", "flags: do;"],
            &[],
        ),
        (
            "8.2.9 EDNS over TCP",
            &["+edns=0", "+nocookie", "+noad", "+tcp", "soa", "shop"],
            &["status: NOERROR", "EDNS: version: 0"],
            &[],
        ),
        (
            "512 without OPT",
            &["+noedns", "+noad", "+ignore", "a", "big.shop"],
            &["status: NOERROR", "ANSWER: 30", "MSG SIZE  rcvd: 506"],
            &["tc"],
        ),
        (
            "TC for SRV",
            &["+edns=0", "+bufsize=512", "+ignore", "srv", "big.shop"],
            &["status: NOERROR", " tc "],
            &[],
        ),
        ("all over TCP", &["+tcp", "srv", "big.shop"], &["ANSWER: 60", "ADDITIONAL: 61"], &[]),
        ("CHAOS", &["ch", "txt", "version.bind"], &["status: REFUSED"], &[]),
        ("not ours", &["a", "example.com"], &["status: REFUSED"], &[]),
        ("no name", &["a", "nothing.shop"], &["status: NXDOMAIN", "AUTHORITY: 1"], &[]),
        ("zone transfer", &["+tcp", "axfr", "shop"], &["Transfer failed"], &[]),
    ];
    for (section, arguments, must, must_not) in table {
        let mut all = vec!["@127.0.0.1", "-p", port.as_str(), "+tries=1", "+time=10"];
        all.extend_from_slice(arguments);
        // Whether dig fails on a refused zone transfer depends on its version, so the text counts.
        let text = output_even_if_failed("dig", &all).await;
        for part in *must {
            assert!(text.contains(part), "{section}: no {part:?} in\n{text}");
        }
        for part in *must_not {
            assert!(!text.contains(part), "{section}: {part:?} in\n{text}");
        }
    }
    println!("{} kinds of questions answered as RFC 8906 and the design say", table.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts the binary: make e2e"]
async fn sigterm_ends_the_server_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut muster = Muster::start(folder.path(), "", ZONE).await;
    muster.process().terminate();
    let status: ExitStatus = tokio::task::block_in_place(|| muster.process().wait());
    assert!(status.success(), "{status}: {}", muster.process().log());
    assert!(muster.process().log().contains("SIGTERM"));
}
