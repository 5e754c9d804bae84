//! Namespaces of every kind: a plain model of them, and a catalog with the same content.
//!
//! An oracle reads the model alone; the server gets the same through its configuration and updates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muster::{
    catalog::Catalog,
    config,
    model::{Health, Instance, Member, NamedPort, Protocol, Target, Update},
};

/// The SOA serial of every namespace.
pub const SERIAL: u32 = 2_026_112_101;

/// A namespace as its file describes it.
pub struct Namespace {
    /// The namespace's own name, without the last dot.
    pub apex: String,
    /// The TTL of SOA and NS records, in seconds.
    pub ttl: u32,
    /// The TTL of negative answers, in seconds.
    pub negative_ttl: u32,
    /// The name servers; empty: the built-in one.
    pub ns: Vec<String>,
    /// The mailbox in the SOA record; `None`: `hostmaster` below the apex.
    pub hostmaster: Option<String>,
    /// Whether A and AAAA answers set TC when they do not fit.
    pub truncate_addresses: bool,
    /// Whether SRV answers set TC when they do not fit.
    pub truncate_srv: bool,
    /// Whether it has an import that is not synced.
    pub unsynced_import: bool,
    /// Its services, in the order of the zone file.
    pub services: Vec<Service>,
}

/// A service and what its sources report.
pub struct Service {
    /// Below the apex, such as `web` or `_ldap._tcp`.
    pub name: String,
    /// The TTL of its records, in seconds.
    pub ttl: u32,
    /// Most records in one answer.
    pub max_answers: usize,
    /// Whether it fails open when no instance is eligible.
    pub fails_open: bool,
    /// Whether each of its members is synced: one entry for each of its `from`.
    pub synced: Vec<bool>,
    /// Reported by the first member.
    pub instances: Vec<Given>,
    /// Reported by the second member: instances of the first one under another id.
    pub also: Vec<(usize, &'static str)>,
}

/// One instance.
#[derive(Clone)]
pub struct Given {
    /// The id that its source gives it.
    pub id: String,
    /// The label that its id becomes.
    pub label: String,
    /// Empty if it has a host name.
    pub addresses: Vec<IpAddr>,
    /// A host name instead of addresses.
    pub host: Option<String>,
    /// The main port; 0 if there is none.
    pub port: u16,
    /// The named ports.
    pub ports: Vec<(&'static str, Protocol, u16)>,
    /// As its source reports it.
    pub health: Health,
    /// Its weight in SRV records.
    pub weight: u16,
}

impl Given {
    fn new(id: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            id: id.to_owned(),
            label: id.to_owned(),
            addresses: addresses.into_iter().collect(),
            host: None,
            port: 80,
            ports: Vec::new(),
            health: Health::Healthy,
            weight: 1,
        }
    }

    fn host(id: &str, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..Self::new(id, []) }
    }

    fn instance(&self, id: &str) -> Instance {
        let target = match &self.host {
            Some(host) => Target::Host(host.parse().unwrap()),
            None => Target::Addresses(self.addresses.clone().into()),
        };
        let named_ports = self.ports.iter().map(|(name, protocol, port)| NamedPort {
            name: (*name).into(),
            protocol: *protocol,
            port: *port,
        });
        Instance {
            target,
            named_ports: named_ports.collect(),
            health: self.health,
            weight: self.weight,
            ..Instance::at(id, Ipv4Addr::LOCALHOST.into(), self.port)
        }
    }
}

impl Service {
    fn new(name: &str, instances: Vec<Given>) -> Self {
        Self {
            name: name.to_owned(),
            ttl: 0,
            max_answers: 8,
            fails_open: true,
            synced: vec![true],
            instances,
            also: Vec::new(),
        }
    }
}

fn v4(net: u8, at: usize) -> IpAddr {
    Ipv4Addr::new(10, net, u8::try_from(at / 256).unwrap(), u8::try_from(at % 256).unwrap()).into()
}

fn v6(net: u8, at: usize) -> IpAddr {
    Ipv6Addr::new(0xfd00, net.into(), 0, 0, 0, 0, 0, u16::try_from(at).unwrap()).into()
}

/// Instances `i0`, `i1` and so on.
fn many(count: usize, make: impl Fn(usize, &str) -> Given) -> Vec<Given> {
    (0..count).map(|at| make(at, &format!("i{at}"))).collect()
}

/// Namespaces of every kind.
pub fn all() -> Vec<Namespace> {
    vec![corp(), shop(), nested(), imported(), delegated()]
}

/// Namespaces with names so long that even one record may not fit a datagram.
pub fn long() -> Vec<Namespace> {
    let long = |first: &str| format!("{first}.{}.example", vec!["n".repeat(60); 3].join("."));
    vec![Namespace {
        ns: vec![long("ns1"), long("ns2"), long("ns3")],
        hostmaster: Some(long("hostmaster")),
        services: vec![
            Service::new("web", many(3, |at, id| Given::new(id, [v4(1, at)]))),
            Service::new("alias", vec![Given::host("a", &long("target"))]),
        ],
        ..plain("long.example")
    }]
}

/// An instance with more addresses than fit a datagram.
pub fn sheaf() -> Vec<Namespace> {
    vec![Namespace {
        services: vec![Service::new("sheaf", vec![Given::new("one", (0..60).map(|at| v4(2, at)))])],
        truncate_addresses: true,
        ..plain("sheaf.example")
    }]
}

/// Namespaces in which two records of one SRV answer lead to one instance or host.
pub fn doubled() -> Vec<Namespace> {
    let twice = vec![("http", Protocol::Tcp, 80), ("http", Protocol::Tcp, 8080)];
    let metrics = vec![("metrics", Protocol::Tcp, 9100)];
    let host = |id: &str, port| Given { port, ports: metrics.clone(), ..Given::host(id, "vm.example.net") };
    vec![Namespace {
        services: vec![
            Service::new("twice", vec![Given { ports: twice, ..Given::new("a", [v4(1, 1), v6(1, 1)]) }]),
            Service::new("shared", vec![host("a", 80), host("b", 81)]),
        ],
        ..plain("doubled.example")
    }]
}

fn plain(apex: &str) -> Namespace {
    Namespace {
        apex: apex.to_owned(),
        ttl: 0,
        negative_ttl: 1,
        ns: Vec::new(),
        hostmaster: None,
        truncate_addresses: false,
        truncate_srv: true,
        unsynced_import: false,
        services: Vec::new(),
    }
}

/// One service for each case.
fn corp() -> Namespace {
    use Health::{Draining, Healthy, Unhealthy, Unknown, Warning};
    let named = |given: Given| Given {
        ports: vec![("http", Protocol::Tcp, 80), ("dns", Protocol::Udp, 53)],
        ..given
    };
    let in_health = |states: &[Health], net: u8| {
        many(states.len(), |at, id| Given { health: states[at], ..named(Given::new(id, [v4(net, at)])) })
    };
    let mut services = vec![
        Service {
            ttl: 30,
            ..Service::new("web", many(3, |at, id| named(Given::new(id, [v4(1, at), v6(1, at)]))))
        },
        Service::new("api", many(12, |at, id| Given { weight: 7, ..Given::new(id, [v4(2, at)]) })),
        Service::new(
            "spared",
            many(3, |at, id| Given { weight: if at == 0 { 0 } else { 2 }, ..Given::new(id, [v4(30, at)]) }),
        ),
        Service::new("v6only", many(3, |at, id| named(Given::new(id, [v6(3, at)])))),
        Service::new("dual", many(10, |at, id| Given::new(id, [v4(4, at), v6(4, at)]))),
        Service::new("half-dual", {
            many(5, |at, id| Given::new(id, [v4(5, at)].into_iter().chain((at % 2 == 0).then(|| v6(5, at)))))
        }),
        Service::new(
            "hosts",
            vec![named(Given::host("h1", "vm-1.example.net")), Given::host("h2", "vm-2.example.net")],
        ),
        Service::new(
            "mixed",
            vec![
                Given::new("a", [v4(6, 1)]),
                Given::new("b", [v4(6, 2), v6(6, 2)]),
                Given::host("h", "vm-3.example.net"),
            ],
        ),
        Service::new("_ldap._tcp", many(2, |at, id| Given { port: 389, ..Given::new(id, [v4(7, at)]) })),
        Service::new(
            "_sip._udp",
            many(2, |at, id| Given { port: 5060, ..named(Given::new(id, [v6(7, at)])) }),
        ),
        Service { synced: vec![false], ..Service::new("never", Vec::new()) },
        Service { synced: vec![false, false], ..Service::new("never2", Vec::new()) },
        Service {
            synced: vec![true, false],
            ..Service::new("half-heard", many(2, |at, id| named(Given::new(id, [v4(8, at)]))))
        },
        Service { synced: vec![true, false], ..Service::new("half-empty", Vec::new()) },
        Service {
            synced: vec![true, false],
            ..Service::new("half-draining", in_health(&[Draining, Draining], 9))
        },
        Service::new("sick", in_health(&[Unhealthy, Unhealthy, Unhealthy, Draining], 10)),
        Service { fails_open: false, ..Service::new("sick-closed", in_health(&[Unhealthy, Unknown], 11)) },
        Service::new("draining", in_health(&[Draining, Draining], 12)),
        Service::new("mostly", in_health(&[Healthy, Unhealthy, Warning, Unknown, Draining, Healthy], 13)),
        Service::new("empty", Vec::new()),
        Service::new("portless", many(2, |at, id| Given { port: 0, ..Given::new(id, [v4(14, at)]) })),
        Service::new("one-machine", {
            many(4, |at, id| Given {
                port: 8000 + u16::try_from(at).unwrap(),
                ..Given::new(id, [v4(15, at / 2)])
            })
        }),
        Service::new(
            "escaped",
            vec![
                Given { label: "web-2-2f7b956d".to_owned(), ..Given::new("Web.2", [v4(16, 1)]) },
                Given::new("plain", [v4(16, 2)]),
            ],
        ),
        Service::new(
            "sheaf",
            vec![named(Given::new("s", (0..3).map(|at| v4(17, at)).chain((0..2).map(|at| v6(17, at)))))],
        ),
        Service {
            synced: vec![true, true],
            also: vec![(0, "other-id"), (1, "another-id")],
            ..Service::new("merged", many(3, |at, id| Given::new(id, [v4(18, at)])))
        },
        Service {
            max_answers: 100,
            ..Service::new("sixty", many(60, |at, id| named(Given::new(id, [v4(19, at)]))))
        },
        Service { max_answers: 1, ..Service::new("single", many(3, |at, id| Given::new(id, [v4(20, at)]))) },
    ];
    for at in 1..=24_u8 {
        let instances = many(usize::from(at), |index, id| named(Given::new(id, [v4(100 + at, index)])));
        services.push(Service { ttl: at.into(), ..Service::new(&format!("s{at}"), instances) });
    }
    Namespace { ttl: 5, negative_ttl: 2, services, ..plain("corp.example") }
}

/// Large answers, with the other settings of `truncate`.
fn shop() -> Namespace {
    let large = |name: &str, make: &dyn Fn(usize, &str) -> Given| Service {
        max_answers: 100,
        ..Service::new(name, many(60, make))
    };
    let ports = vec![("http", Protocol::Tcp, 80)];
    Namespace {
        truncate_addresses: true,
        truncate_srv: false,
        services: vec![
            large("web", &|at, id| Given { ports: ports.clone(), ..Given::new(id, [v4(1, at), v6(1, at)]) }),
            large("v6", &|at, id| Given::new(id, [v6(2, at)])),
            large("mixed", &|at, id| match at % 4 {
                0 => Given::host(id, &format!("vm-{at}.example.net")),
                _ => Given::new(id, [v4(3, at)]),
            }),
        ],
        ..plain("shop")
    }
}

/// A namespace below another one: the longer apex answers.
fn nested() -> Namespace {
    Namespace {
        services: vec![Service::new("web", many(2, |at, id| Given::new(id, [v4(200, at)])))],
        ..plain("deep.corp.example")
    }
}

/// A namespace whose import is not synced, so it may have more names than it knows.
fn imported() -> Namespace {
    Namespace {
        unsynced_import: true,
        services: vec![
            Service::new("web", many(2, |at, id| Given::new(id, [v4(201, at)]))),
            Service::new("_ldap._tcp", many(1, |at, id| Given::new(id, [v4(202, at)]))),
        ],
        ..plain("imported.test")
    }
}

/// Configured name servers, inside and outside, and a configured mailbox.
fn delegated() -> Namespace {
    Namespace {
        ns: vec!["ns1.delegated.test".to_owned(), "ns.example.org".to_owned()],
        hostmaster: Some("dns.ops.example.org".to_owned()),
        services: vec![Service::new("web", many(1, |at, id| Given::new(id, [v4(203, at)])))],
        ..plain("delegated.test")
    }
}

const SERVER: &str = "[consul.vms]\n[kubernetes.eks]\n";

/// The zone file of a namespace.
fn zone_file(namespace: &Namespace) -> String {
    let mut text = format!(
        "namespace = {:?}\nttl = {}\nnegative_ttl = {}\n",
        namespace.apex, namespace.ttl, namespace.negative_ttl
    );
    if !namespace.ns.is_empty() {
        text += &format!("ns = {:?}\n", namespace.ns);
    }
    if let Some(hostmaster) = &namespace.hostmaster {
        text += &format!("hostmaster = {hostmaster:?}\n");
    }
    let mut truncate = Vec::new();
    if namespace.truncate_addresses {
        truncate.extend(["A", "AAAA"]);
    }
    if namespace.truncate_srv {
        truncate.push("SRV");
    }
    text += &format!("truncate = {truncate:?}\n");
    for service in &namespace.services {
        let from: Vec<_> = service.synced.iter().map(|_| "{ consul = \"vms\", service = \"x\" }").collect();
        text += &format!(
            "[services.{:?}]\nttl = {}\nmax_answers = {}\nwhen_all_unhealthy = {:?}\nfrom = [{}]\n",
            service.name,
            service.ttl,
            service.max_answers,
            if service.fails_open { "all" } else { "none" },
            from.join(", ")
        );
    }
    if namespace.unsynced_import {
        text += "[[import]]\nconsul = \"vms\"\ninclude = [\"*\"]\n";
    }
    text
}

/// Makes a catalog with the instances of these namespaces.
pub fn catalog(namespaces: &[Namespace]) -> Catalog {
    let mut files = vec![("muster.toml".into(), SERVER.to_owned())];
    for namespace in namespaces {
        files.push((format!("zones/{}.toml", namespace.apex).into(), zone_file(namespace)));
    }
    let loaded = config::load_from(&files).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let mut catalog = Catalog::new(&loaded.config, SERIAL);
    for namespace in namespaces {
        let configured = loaded.config.namespaces.iter();
        let configured = configured.filter(|n| n.apex == namespace.apex.parse().unwrap());
        let members: Vec<Member> =
            configured.flat_map(|n| &n.services).flat_map(|s| s.members()).map(|(m, _)| m).collect();
        for service in &namespace.services {
            let name = format!("{}.{}", service.name, namespace.apex).parse().unwrap();
            for member in members.iter().filter(|member| member.service == name) {
                let place = usize::from(member.place);
                let instances = match place {
                    0 => service.instances.iter().map(|given| given.instance(&given.id)).collect(),
                    _ => service.also.iter().map(|(at, id)| service.instances[*at].instance(id)).collect(),
                };
                if service.synced[place] {
                    catalog.apply(Update::Reset { member: member.clone(), instances });
                }
            }
        }
    }
    catalog.publish();
    catalog
}
