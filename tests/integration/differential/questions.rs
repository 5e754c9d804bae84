//! Queries as clients send them, as odd clients send them, and malformed ones.
//!
//! The random numbers are not a library's, so a seed gives the same queries on every machine and in
//! every release.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testkit::namespaces::{Namespace, Service};

use super::records::{HEADER, split};

/// A request and how it arrives.
pub struct Asked {
    pub packet: Vec<u8>,
    pub udp: bool,
    /// The address that it is sent to.
    pub asked: Option<IpAddr>,
}

/// Makes queries about `namespaces`.
pub struct Questions<'n> {
    namespaces: &'n [Namespace],
    chance: Chance,
}

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end`, exclusive.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// A query in parts.
struct Draft {
    header: [u8; HEADER],
    question: Vec<u8>,
    /// Answer, authority and additional records.
    records: [Vec<Vec<u8>>; 3],
    tail: Vec<u8>,
}

impl<'n> Questions<'n> {
    pub fn new(namespaces: &'n [Namespace], seed: u64) -> Self {
        Self { namespaces, chance: Chance(seed) }
    }

    /// The next query.
    pub fn next(&mut self) -> Asked {
        let mut draft = Draft {
            header: self.header(),
            question: self.question(),
            records: Default::default(),
            tail: Vec::new(),
        };
        if self.chance.percent(70) {
            let opt = self.opt();
            draft.records[2].push(opt);
        }
        if self.chance.percent(8) {
            self.add_junk(&mut draft);
        }
        if self.chance.percent(3) {
            let length = 1 + self.chance.below(40);
            draft.tail = self.chance.bytes(length);
        }
        let mut packet = draft.into_packet();
        if self.chance.percent(8) {
            self.damage(&mut packet);
        }
        let asked = match self.chance.below(5) {
            0 => None,
            1 | 2 => Some(Ipv4Addr::LOCALHOST.into()),
            _ => Some(Ipv6Addr::LOCALHOST.into()),
        };
        Asked { packet, udp: self.chance.percent(85), asked }
    }

    fn header(&mut self) -> [u8; HEADER] {
        let chance = &mut self.chance;
        let mut header = [chance.byte(), chance.byte(), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        header[2] = u8::from(chance.percent(70)); // RD
        header[3] = chance.of(&[0, 0, 0x10, 0x20, 0x30]); // AD, CD
        if chance.percent(4) {
            header[2] = chance.byte() & 0x7f; // opcode, AA, TC
        }
        if chance.percent(4) {
            header[3] = chance.byte(); // RA, Z, a response code
        }
        if chance.percent(1) {
            header[2] |= 0x80;
        }
        header
    }

    fn question(&mut self) -> Vec<u8> {
        let chaos = self.chance.percent(2);
        let (mut labels, mut rtype) = match chaos {
            true => (split(self.chance.of(&["version.bind", "version.server", "id.server"])), 16),
            false => (self.labels(), 1),
        };
        if !chaos || self.chance.percent(20) {
            rtype = self.rtype();
        }
        let class = match self.chance.below(100) {
            0..95 => 1 + 2 * u16::from(chaos),
            _ => self.chance.of(&[0, 1, 3, 4, 254, 255, 2, 0x8001, 65535]),
        };
        if self.chance.percent(40) {
            for byte in labels.iter_mut().flatten() {
                if self.chance.percent(50) {
                    byte.make_ascii_uppercase();
                }
            }
        }
        let mut question = Vec::new();
        for label in labels {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label);
        }
        question.push(0);
        question.extend(rtype.to_be_bytes());
        question.extend(class.to_be_bytes());
        question
    }

    fn rtype(&mut self) -> u16 {
        const OTHERS: [u16; 24] = [
            0, 2, 5, 6, 10, 12, 13, 15, 16, 24, 35, 41, 43, 46, 48, 64, 65, 249, 250, 251, 252, 253, 257,
            65535,
        ];
        match self.chance.below(100) {
            0..30 => 1,
            30..50 => 28,
            50..75 => 33,
            75..82 => 255,
            82..97 => self.chance.of(&OTHERS),
            _ => self.chance.word(),
        }
    }

    /// A name, as labels.
    fn labels(&mut self) -> Vec<Vec<u8>> {
        let namespaces = self.namespaces;
        // The first namespace has most of the cases.
        let others = self.chance.below(namespaces.len());
        let zone = &namespaces[if self.chance.percent(60) { 0 } else { others }];
        let apex = split(&zone.apex);
        let service = &zone.services[self.chance.below(zone.services.len())];
        let at_service = [split(&service.name), apex.clone()].concat();
        match self.chance.below(100) {
            0..40 => at_service,
            40..55 => [vec![self.instance(service)], at_service].concat(),
            55..67 => [self.port(), at_service].concat(),
            67..70 => apex,
            70..73 => [vec![self.chance.of(&[&b"_tcp"[..], b"_udp"]).to_vec()], at_service].concat(),
            73..76 => [vec![self.chance.of(&[&b"_tcp"[..], b"_udp", b"_sctp"]).to_vec()], apex].concat(),
            76..79 => [vec![b"ns".to_vec()], apex].concat(),
            79..82 => [vec![b"x".to_vec(), self.instance(service)], at_service].concat(),
            82..84 => [vec![b"x".to_vec()], self.port(), at_service].concat(),
            84..86 => [self.port(), apex].concat(),
            86..88 => {
                let length = 1 + self.chance.below(63);
                [vec![self.chance.bytes(length)], if self.chance.percent(50) { apex } else { at_service }]
                    .concat()
            }
            88..90 => self.filled(at_service),
            90..95 => {
                let below =
                    ["nothing", "web2", "we", "n", "a.b", "a.b.c.d", "_ldap", "x.ns", "deep", "xdeep"];
                [split(self.chance.of(&below)), apex].concat()
            }
            95..97 => apex[1..].to_vec(),
            _ => {
                let others = [
                    "example",
                    "test",
                    "org",
                    "www.example.org",
                    "xshop",
                    "shop.example",
                    "localhost",
                    "a.localhost",
                    "b.a.test",
                ];
                split(self.chance.of(&others))
            }
        }
    }

    fn instance(&mut self, service: &Service) -> Vec<u8> {
        let count = service.instances.len() + service.also.len();
        let at = self.chance.below(count + 1);
        let own = service.instances.iter().map(|instance| instance.label.as_str());
        let label = own.chain(service.also.iter().map(|(_, id)| *id)).nth(at);
        label.unwrap_or("no-such-instance").as_bytes().to_vec()
    }

    fn port(&mut self) -> Vec<Vec<u8>> {
        split(self.chance.of(&[
            "_http._tcp",
            "_dns._udp",
            "_http._udp",
            "_grpc._tcp",
            "http.tcp",
            "_ldap._tcp",
        ]))
    }

    /// Prepends labels until the name has 255 bytes, or one more or less.
    fn filled(&mut self, name: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let all = self.chance.of(&[255, 255, 254, 256]);
        let longest = self.chance.of(&[1, 63]);
        let mut labels = Vec::new();
        let mut left = all - 1 - name.iter().map(|label| label.len() + 1).sum::<usize>();
        while left > 1 {
            let mut length = longest.min(left - 1);
            if left - 1 - length == 1 {
                length -= usize::from(length > 1); // one octet alone is no label
            }
            labels.push(vec![b'a'; length]);
            left -= length + 1;
        }
        labels.extend(name);
        labels
    }

    fn opt(&mut self) -> Vec<u8> {
        let size = match self.chance.below(10) {
            0..6 => self.chance.of(&[1232, 4096]),
            6..9 => self.chance.of(&[0, 100, 511, 512, 513, 600, 1231, 1233, 65535]),
            _ => self.chance.word(),
        };
        let mut opt = vec![0, 0, 41];
        opt.extend(size.to_be_bytes());
        opt.extend([0, 0, if self.chance.percent(30) { 0x80 } else { 0 }, 0]);
        if self.chance.percent(4) {
            opt[6] = self.chance.byte(); // version
        }
        if self.chance.percent(4) {
            opt[5] = self.chance.byte(); // extended code
            opt[7] = self.chance.byte();
            opt[8] = self.chance.byte();
        }
        let mut options = Vec::new();
        if self.chance.percent(40) {
            for _ in 0..=self.chance.below(3) {
                options.extend(self.option());
            }
        }
        if self.chance.percent(3) {
            options.pop();
        }
        if self.chance.percent(2) {
            options.extend([0, 10, 0]);
        }
        opt.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
        opt.extend(options);
        opt
    }

    /// An EDNS option, well-formed outside and sometimes malformed inside.
    fn option(&mut self) -> Vec<u8> {
        let code = self.chance.of(&[3, 5, 8, 8, 9, 10, 10, 11, 12, 15, 65001]);
        let content = match code {
            8 if self.chance.percent(50) => vec![0, 1, 24, 0, 192, 0, 2],
            10 => {
                let length = self.chance.of(&[0, 7, 8, 8, 8, 8, 8, 15, 16, 24, 24, 40, 41]);
                self.chance.bytes(length)
            }
            12 => vec![0; self.chance.below(200)],
            _ => {
                let length = self.chance.below(12);
                self.chance.bytes(length)
            }
        };
        let length = u16::try_from(content.len()).unwrap();
        [&u16::to_be_bytes(code)[..], &length.to_be_bytes(), &content].concat()
    }

    /// Adds records that a query does not need.
    fn add_junk(&mut self, draft: &mut Draft) {
        for _ in 0..=self.chance.below(3) {
            let section = self.chance.of(&[0, 1, 2, 2]);
            let record = if self.chance.percent(20) { self.opt() } else { self.record() };
            let records = &mut draft.records[section];
            let at = self.chance.below(records.len() + 1);
            records.insert(at, record);
        }
    }

    fn record(&mut self) -> Vec<u8> {
        // The root, the question's name, the header, itself or the bytes behind it, a name in full.
        let owners: [&[u8]; 6] =
            [&[0], &[0xc0, 12], &[0xc0, 0], &[0xc0, 40], &[0xff, 0xff], b"\x03www\x07example\x00"];
        let mut record = self.chance.of(&owners).to_vec();
        let rtype = self.chance.of(&[1, 1, 2, 5, 6, 16, 24, 28, 33, 41, 46, 250, 65280]);
        record.extend(u16::to_be_bytes(rtype));
        record.extend([0, self.chance.of(&[1, 1, 254, 255])]);
        record.extend(self.chance.bytes(4));
        let length = match rtype {
            1 => 4,
            28 => 16,
            _ => self.chance.below(24),
        };
        let data = self.chance.bytes(length);
        let length = if self.chance.percent(10) { self.chance.below(40) } else { length };
        record.extend(u16::try_from(length).unwrap().to_be_bytes());
        record.extend(data);
        record
    }

    /// Breaks a packet in one way.
    fn damage(&mut self, packet: &mut Vec<u8>) {
        match self.chance.below(5) {
            0 => packet.truncate(self.chance.below(packet.len() + 1)),
            1 => {
                for _ in 0..=self.chance.below(3) {
                    let at = self.chance.below(packet.len());
                    packet[at] ^= 1 << self.chance.below(8);
                }
            }
            2 => packet[4 + self.chance.below(8)] = self.chance.of(&[0, 1, 2, 255]),
            3 => {
                // A pointer somewhere in the question's name, usually into the header.
                let at = HEADER + self.chance.below(packet.len() - HEADER);
                let to = self.chance.of(&[0, 1, 4, 6, 12, 14, 0xff]);
                packet.splice(at..packet.len().min(at + 2), [0xc0, to]);
            }
            _ => {
                let at = HEADER + self.chance.below(packet.len() - HEADER);
                packet[at] = self.chance.byte();
            }
        }
    }
}

impl Draft {
    fn into_packet(self) -> Vec<u8> {
        let mut packet = self.header.to_vec();
        for (section, records) in self.records.iter().enumerate() {
            packet[7 + 2 * section] = u8::try_from(records.len()).unwrap();
        }
        packet.extend(self.question);
        packet.extend(self.records.into_iter().flatten().flatten());
        packet.extend(self.tail);
        packet
    }
}
