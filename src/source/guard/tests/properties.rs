//! What holds whatever a source says.

use proptest::prelude::*;

use super::*;
use crate::config::{Amount, RemovalLimit};

/// A word of the source, and how many milliseconds after the one before.
#[derive(Clone, Debug)]
enum Word {
    List(Vec<(u8, Health)>),
    One(u8, Health),
    Gone(u8),
}

fn words() -> impl Strategy<Value = Vec<(u64, Word)>> {
    let health = || prop::sample::select(Health::ALL.to_vec());
    let list = prop::collection::btree_map(0..6u8, health(), 0..6);
    let word = prop_oneof![
        1 => list.prop_map(|list| Word::List(list.into_iter().collect())),
        4 => (0..6u8, health()).prop_map(|(last, health)| Word::One(last, health)),
        1 => (0..6u8).prop_map(Word::Gone),
    ];
    prop::collection::vec((0..4000u64, word), 1..60)
}

fn update(word: &Word) -> Update {
    match word {
        Word::List(list) => reset(list.iter().map(|(last, health)| instance(*last, *health)).collect()),
        Word::One(last, health) => upsert(*last, *health),
        Word::Gone(last) => remove(*last),
    }
}

/// What the source said last.
fn truth(words: &[(u64, Word)]) -> BTreeMap<u8, Health> {
    let mut truth = BTreeMap::new();
    for (_, word) in words {
        match word {
            Word::List(list) => truth = list.iter().copied().collect(),
            Word::One(last, health) => {
                truth.insert(*last, *health);
            }
            Word::Gone(last) => {
                truth.remove(last);
            }
        }
    }
    truth
}

proptest! {
    #[test]
    fn damping_never_answers_what_the_source_condemns_and_ends_at_its_last_word(
        words in words(),
        settle in 0..5u64,
        flapping in prop::option::of((1..8u64, 2..5u8, 1..20u64)),
    ) {
        let mut bed = Bed::new(damping(settle, flapping));
        bed.at(0, reset(healthy(0..6)));
        let mut at = 0;
        let mut said = vec![(0, Word::List((0..6).map(|last| (last, Health::Healthy)).collect()))];
        for (after, word) in words {
            at += after;
            bed.at(at, update(&word));
            said.push((after, word));
            let truth = truth(&said);
            prop_assert_eq!(bed.catalog.len(), truth.len());
            for (last, health) in truth {
                let given = &bed.catalog[&instance(last, health).id];
                prop_assert_eq!(given.source_word(), Some(&instance(last, health)), "its last word is kept");
                if health > Health::Warning {
                    prop_assert_eq!(given.health, health, "bad news counts at once");
                }
            }
            let held = bed.catalog.values().filter(|instance| instance.held.is_some()).count();
            prop_assert_eq!(bed.memory.held().by_reason().map(|(_, count)| count).sum::<usize>(), held);
        }
        bed.wait_until(at + 1_000_000);
        prop_assert_eq!(bed.memory.deadline(), None);
        let given: BTreeMap<_, _> = bed.catalog.values().cloned().map(|i| (Arc::clone(&i.id), i)).collect();
        let truth = truth(&said).into_iter().map(|(last, health)| instance(last, health));
        prop_assert_eq!(given, truth.map(|i| (Arc::clone(&i.id), i)).collect::<BTreeMap<_, _>>());
    }

    #[test]
    fn nothing_goes_to_zero_on_one_word_and_all_ends_at_the_last_word(
        words in words(),
        amount in prop_oneof![(1..4u32).prop_map(Amount::Count), (1..100u8).prop_map(Amount::Percent)],
        window in 1..20u64,
        asks in any::<bool>(),
        open in prop::collection::btree_set(0..6u8, 0..6),
        answer in prop::sample::select(vec![None, Some(Opinion::Unknown), Some(Opinion::Closed)]),
    ) {
        let removal = Some(RemovalLimit { amount, window: Duration::from_secs(window) });
        let mut bed =
            Bed::new(GuardRule { removal, second_opinion: Some(asks), ..GuardRule::default() });
        bed.at(0, reset(healthy(0..6)));
        let mut at = 0;
        let mut said = vec![(0, Word::List((0..6).map(|last| (last, Health::Healthy)).collect()))];
        let is_open = |id: &Arc<str>| open.iter().any(|last| instance(*last, Health::Healthy).id == *id);
        for (after, word) in words {
            at += after;
            bed.wait_until(at);
            let good = bed.good();
            let drains = match &word {
                Word::List(list) => list.iter().any(|(_, health)| *health == Health::Draining),
                Word::One(_, health) => *health == Health::Draining,
                Word::Gone(_) => false,
            };
            // Unknown health is no word against an instance.
            let unknown = match &word {
                Word::List(list) => list.iter().any(|(_, health)| *health == Health::Unknown),
                Word::One(_, health) => *health == Health::Unknown,
                Word::Gone(_) => false,
            };
            bed.at(at, update(&word));
            prop_assert!(good == 0 || bed.good() > 0 || drains || unknown, "{word:?}");
            said.push((after, word));
            let truth = truth(&said);
            for (last, health) in &truth {
                let given = bed.catalog.get(&instance(*last, *health).id);
                prop_assert_eq!(given.and_then(Instance::source_word), Some(&instance(*last, *health)));
            }
            let good = truth.values().filter(|health| **health <= Health::Warning).count();
            prop_assert!(bed.good() >= good, "good news counts at once");
            let asked = bed.asked();
            prop_assert!(asks || asked.is_empty());
            for doubt in asked {
                let opinion = if is_open(&doubt.0) { Some(Opinion::Open) } else { answer };
                if let Some(opinion) = opinion {
                    bed.hear(at, &[doubt], opinion);
                }
            }
        }
        // Whatever is open stays open only until it is closed.
        let mut rounds = 0;
        while bed.memory.deadline().is_some() {
            rounds += 1;
            prop_assert!(rounds < 1000, "it ends");
            at += 500;
            bed.wait_until(at);
            let asked = bed.asked();
            bed.hear(at, &asked, Opinion::Closed);
        }
        prop_assert_eq!(bed.memory.held().by_reason().count(), 0);
        let truth = truth(&said).into_iter().map(|(last, health)| instance(last, health));
        prop_assert_eq!(bed.catalog, truth.map(|i| (Arc::clone(&i.id), i)).collect::<BTreeMap<_, _>>());
    }
}
