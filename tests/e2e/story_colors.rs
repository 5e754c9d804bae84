//! App Mesh's colors: versions of one service by weight, changed by edits while a client queries.

use crate::{
    consul::Consul,
    load::{Client, together},
    muster::Muster,
};

const COLORS: [(&str, [&str; 2]); 4] = [
    ("white", ["10.10.1.1", "10.10.1.2"]),
    ("blue", ["10.10.2.1", "10.10.2.2"]),
    ("black", ["10.10.3.1", "10.10.3.2"]),
    ("red", ["10.10.4.1", "10.10.4.2"]),
];

fn zone(weights: &[(&str, usize)]) -> String {
    let groups: Vec<_> = weights
        .iter()
        .map(|(color, weight)| format!("{{ labels = {{ color = \"{color}\" }}, weight = {weight} }}"))
        .collect();
    let routes = match groups.is_empty() {
        true => String::new(),
        false => format!("routes = [{{ split = [{}] }}]", groups.join(", ")),
    };
    format!(
        "namespace = \"demo\"\n[services.colorteller]\nfrom = [{{ consul = \"vms\", service = \"colorteller\" }}]\n{routes}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn colors_share_lookups_by_weight_and_follow_edits() {
    let folder = tempfile::tempdir().unwrap();
    let consul = Consul::start("consul", folder.path()).await;
    let mut all = Vec::new();
    for (color, addresses) in COLORS {
        for (at, address) in addresses.iter().enumerate() {
            let (id, tag) = (format!("{color}-{at}"), format!("color={color}"));
            consul.register_tagged("colorteller", &id, address, 80, &[&tag]).await;
            all.push(*address);
        }
    }
    let sources = format!("[consul.vms]\naddress = \"{}\"", consul.address());
    let muster = Muster::start(folder.path(), &sources, &zone(&[])).await;
    let name = "colorteller.demo";
    muster.wait_for_addresses(name, &all).await;

    let mut client = Client::new(muster.dns, name, "127.0.0.1");
    let even = client.firsts(80);
    println!("without a rule: {even:?}");
    assert!(even.len() == all.len() && even.values().all(|count| *count == 10), "{even:?}");

    let stages: [&[(&str, usize)]; 4] = [
        &[("white", 100)],
        &[("blue", 50), ("black", 50)],
        &[("blue", 90), ("red", 10)],
        &[("blue", 25), ("red", 75)],
    ];
    for weights in stages {
        let load = Client::new(muster.dns, name, "127.0.0.1").keep_asking();
        muster.edit(&zone(weights)).await;
        let of = |color: &str| COLORS.iter().find(|(name, _)| *name == color).unwrap().1;
        let wanted =
            |firsts: &_| weights.iter().map(|(color, _)| together(firsts, &of(color))).sum::<usize>();
        let firsts = client.firsts(20);
        assert_eq!(wanted(&firsts), 20, "from the next lookup on, no other color is answered: {firsts:?}");
        let meanwhile = load.end().len();

        // Clients of one worker share its cursors, so one client alone sees the exact shares.
        let firsts = client.firsts(100);
        println!(
            "{weights:?}: {firsts:?}; {meanwhile} answers to another client meanwhile, none lost, none empty"
        );
        assert_eq!(wanted(&firsts), 100, "{firsts:?}");
        for (color, weight) in weights {
            assert!(together(&firsts, &of(color)).abs_diff(*weight) <= 1, "{color}: {firsts:?}");
        }
    }
}

/// Blue and green: one edit moves all clients.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: make e2e"]
async fn one_edit_switches_everybody_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let consul = Consul::start("consul", folder.path()).await;
    let [_, (_, blue), _, (_, green)] = COLORS;
    for (color, address) in [("blue", blue[0]), ("green", green[0])] {
        consul.register_tagged("colorteller", color, address, 80, &[&format!("color={color}")]).await;
    }
    let sources = format!("[consul.vms]\naddress = \"{}\"", consul.address());
    let muster = Muster::start(folder.path(), &sources, &zone(&[("blue", 1)])).await;
    let name = "colorteller.demo";
    muster.wait_for_addresses(name, &[blue[0]]).await;
    let load = Client::new(muster.dns, name, "127.0.0.1").keep_asking();
    for (color, address) in [("green", green[0]), ("blue", blue[0])] {
        muster.edit(&zone(&[(color, 1)])).await;
        assert_eq!(muster.sorted(name).await, [address], "the next lookup");
    }
    let answers = load.end();
    let changes = answers.windows(2).filter(|pair| pair[0].addresses != pair[1].addresses).count();
    println!("{} answers, {changes} changes", answers.len());
    assert!(changes <= 2, "{changes} changes: every answer before the switch is old, every one after it new");
}
