//! Answers one query a given number of times, so that `valgrind --tool=callgrind` can count
//! instructions.
//!
//! `instructions QUESTION COUNT`; without arguments it answers each query once. See `README.md`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a program that measures has no outside, and ends by panicking when its arguments are wrong"
)]

use std::hint::black_box;

use hickory_proto::{op::Message, rr::RecordType};
use testkit::bed::{Bed, query, query_for};

/// Name, owner name and type, and the number of answers and the code that prove that the right
/// thing is measured.
const QUESTIONS: [(&str, &str, RecordType, usize, u16); 8] = [
    ("a", "s500", RecordType::A, 10, 0),
    ("split", "split", RecordType::A, 10, 0),
    ("client", "client", RecordType::A, 10, 0),
    ("srv", "s500", RecordType::SRV, 10, 0),
    ("nxdomain", "nothing", RecordType::A, 0, 3),
    ("nodata", "nodata", RecordType::A, 0, 0),
    (ALIAS, "alias.front.test.", RecordType::A, 11, 0),
    (CACHED, "www.example.com.", RecordType::A, 10, 0),
];

/// A CNAME and its target's records, in another namespace. Its owner name is a whole one.
const ALIAS: &str = "alias";
/// A name whose answer is cached. It is a whole one, too.
const CACHED: &str = "cached";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| text != "--bench").collect();
    let mut bed = Bed::default();
    let (wanted, count) = match arguments.as_slice() {
        [] => (None, 1),
        [name, count] => (Some(name.as_str()), count.parse::<u32>().expect("COUNT is a number")),
        _ => panic!("usage: instructions [QUESTION COUNT]"),
    };
    let questions = QUESTIONS.iter().filter(|(name, ..)| wanted.is_none_or(|wanted| wanted == *name));
    let mut asked = 0;
    for (name, below, rtype, answers, code) in questions {
        let is_whole = [ALIAS, CACHED].contains(name);
        let query = if is_whole { query_for(below, *rtype, true) } else { query(below, *rtype, true) };
        if *name == CACHED {
            bed = bed.with_cached(&[&query]);
        }
        let message = Message::from_vec(bed.answer(&query)).expect("an answer that can be read");
        assert_eq!(message.answers.len(), *answers, "{name}: answers");
        assert_eq!(u16::from(message.metadata.response_code), *code, "{name}: code");
        for _ in 0..count {
            black_box(bed.answer(black_box(&query)));
        }
        asked += 1;
    }
    assert!(asked > 0, "no such question");
}
