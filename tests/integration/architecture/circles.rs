//! Circles in a directed graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Finds circles between numbers, each as the numbers on its way; it ends where it begins, which is
/// not repeated.
///
/// Every number in a circle is in one of these, or in a circle that shares numbers with them.
/// Each is the shortest through its first number.
pub fn find(edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().insert(to);
    }
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for start in next.keys() {
        if let Some(circle) = shortest_through(&next, *start).filter(|_| !seen.contains(start)) {
            seen.extend(circle.iter().copied());
            circles.push(circle);
        }
    }
    circles
}

fn shortest_through(next: &BTreeMap<usize, BTreeSet<usize>>, start: usize) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for to in next.get(&at).into_iter().flatten() {
            if *to == start {
                let mut way = vec![at];
                while let Some(before) = came_from.get(way.last()?) {
                    way.push(*before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(to) {
                came_from.insert(*to, at);
                queue.push_back(*to);
            }
        }
    }
    None
}

#[test]
fn a_graph_without_a_way_back_has_no_circle() {
    assert!(find([(0, 1), (1, 2), (0, 2), (3, 2)].into_iter()).is_empty());
    assert!(find(std::iter::empty()).is_empty());
}

#[test]
fn each_circle_is_given_as_its_shortest_way() {
    let edges = [(0, 1), (1, 2), (2, 1), (2, 3), (3, 0), (4, 5), (5, 6), (6, 4), (6, 7)];
    assert_eq!(find(edges.into_iter()), [vec![0, 1, 2, 3], vec![4, 5, 6]]);
    assert_eq!(find([(1, 2), (2, 1), (2, 3), (3, 1)].into_iter()), [vec![1, 2], vec![3, 1, 2]]);
}
