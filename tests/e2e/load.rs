//! A client that queries without a pause.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};

use crate::rig::PATIENCE;

/// A client with a socket, and so a cursor, of its own.
pub struct Client {
    socket: UdpSocket,
    question: Message,
}

/// An answer.
pub struct Answer {
    pub asked: Instant,
    pub came: Instant,
    pub addresses: Vec<IpAddr>,
}

impl Client {
    /// Makes one that queries `dns` for the addresses of `name`, from the address `client`.
    pub fn new(dns: SocketAddr, name: &str, client: &str) -> Self {
        let socket = UdpSocket::bind((client.parse::<IpAddr>().unwrap(), 0)).unwrap();
        socket.connect(dns).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut question = Message::new(0, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
        Self { socket, question }
    }

    /// Queries once; a lost datagram, an error and an empty answer are failures.
    pub fn ask(&mut self) -> Answer {
        self.question.metadata.id = self.question.metadata.id.wrapping_add(1);
        let asked = Instant::now();
        self.socket.send(&self.question.to_vec().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("an answer");
        let came = Instant::now();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(answer.metadata.id, self.question.metadata.id, "every question is answered once");
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        let addresses: Vec<_> = answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
        assert!(!addresses.is_empty(), "an empty answer");
        Answer { asked, came, addresses }
    }

    /// How often each address is the first of `count` answers.
    pub fn firsts(&mut self, count: usize) -> BTreeMap<String, usize> {
        let mut firsts = BTreeMap::new();
        for _ in 0..count {
            *firsts.entry(self.ask().addresses[0].to_string()).or_default() += 1;
        }
        firsts
    }

    /// Queries without a pause until the load ends.
    pub fn keep_asking(mut self) -> Load {
        let done = Arc::new(AtomicBool::new(false));
        let task = std::thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let mut answers = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    answers.push(self.ask());
                }
                answers
            }
        });
        Load { done, task }
    }
}

/// A client that queries in the background.
pub struct Load {
    done: Arc<AtomicBool>,
    task: JoinHandle<Vec<Answer>>,
}

impl Load {
    /// Ends it; returns all answers in order. Fails if any was not as [`Client::ask`] wants it.
    pub fn end(self) -> Vec<Answer> {
        self.done.store(true, Ordering::Relaxed);
        self.task.join().expect("every question of the load is answered well")
    }
}

/// The number of lookups that some addresses got together.
pub fn together(firsts: &BTreeMap<String, usize>, addresses: &[&str]) -> usize {
    addresses.iter().filter_map(|address| firsts.get(*address)).sum()
}
