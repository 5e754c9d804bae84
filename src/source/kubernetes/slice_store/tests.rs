use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::kubernetes::collection::Object;

fn slice(name: &str, endpoints: &[Value], port: u16) -> Slice {
    let json = json!({
        "metadata": { "name": name, "resourceVersion": "1" },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": port }],
    });
    Slice::from_json(serde_json::from_value(json).unwrap())
}

fn endpoint(pod: u32, ready: bool) -> Value {
    json!({
        "addresses": [format!("10.{}.{}.{}", pod >> 16, (pod >> 8) & 255, pod & 255)],
        "conditions": { "ready": ready },
        "targetRef": { "name": format!("pod-{pod}"), "uid": pod.to_string() },
    })
}

fn names(ids: &[Arc<str>]) -> Vec<&str> {
    ids.iter().map(|id| &**id).collect()
}

#[test]
fn a_change_of_one_slice_concerns_only_its_changed_endpoints() {
    let (namespace, service) = ("shop".into(), "web".into());
    let mut store = SliceStore::default();
    let put = |store: &mut SliceStore, number: u32, changed: Option<u32>| {
        let pods = number * 100..(number + 1) * 100;
        let endpoints: Vec<_> = pods.map(|pod| endpoint(pod, changed != Some(pod))).collect();
        store.put(&namespace, &service, slice(&format!("web-{number}"), &endpoints, 80)).unwrap()
    };
    for number in 0..50 {
        assert_eq!(put(&mut store, number, None)[0].ids.len(), 100);
    }
    assert_eq!(store.service("shop", "web").unwrap().endpoints().count(), 5000);
    let changes = put(&mut store, 7, Some(742));
    assert_eq!(changes.len(), 1);
    assert_eq!(names(&changes[0].ids), ["pod-742"]);
    let change = store.remove("shop", "web-7").unwrap();
    assert_eq!(change.ids.len(), 100);
    assert_eq!(store.service("shop", "web").unwrap().endpoints().count(), 4900);
    assert_eq!(store.size, 49 * 101);
}

#[test]
fn a_store_without_slices_is_empty() {
    let mut store = SliceStore::default();
    store.put(&"shop".into(), &"web".into(), slice("a", &[endpoint(1, true)], 80)).unwrap();
    store.remove("shop", "a").unwrap();
    assert_eq!(store.remove("shop", "a"), None);
    assert!(store.namespaces.is_empty() && store.size == 0, "{store:?}");
}

proptest! {
    /// Pods are in several slices at times, with other ports or another readiness.
    #[test]
    fn the_changed_ids_are_all_that_changes(
        steps in prop::collection::vec(
            (0..4_u8, prop::option::of((prop::collection::vec((0..6_u32, any::<bool>()), 0..6), 80..82_u16))),
            1..24,
        ),
    ) {
        let (namespace, service): (Arc<str>, Arc<str>) = ("shop".into(), "web".into());
        let mut store = SliceStore::default();
        let mut known = BTreeMap::<Arc<str>, Endpoint>::new();
        let mut slices = BTreeMap::new();
        for (name, content) in steps {
            let name = format!("web-{name}");
            let changes = match content {
                Some((pods, port)) => {
                    let endpoints: Vec<_> = pods.iter().map(|(pod, ready)| endpoint(*pod, *ready)).collect();
                    slices.insert(name.clone(), (endpoints.clone(), port));
                    store.put(&namespace, &service, slice(&name, &endpoints, port)).unwrap()
                }
                None => {
                    slices.remove(&name);
                    store.remove("shop", &name).into_iter().collect()
                }
            };
            for id in changes.into_iter().flat_map(|change| change.ids) {
                match store.service("shop", "web").and_then(|slices| slices.endpoint(&id)) {
                    Some(endpoint) => known.insert(id, endpoint),
                    None => known.remove(&id),
                };
            }
            let mut fresh = SliceStore::default();
            for (name, (endpoints, port)) in &slices {
                fresh.put(&namespace, &service, slice(name, endpoints, *port)).unwrap();
            }
            let all = fresh.service("shop", "web").into_iter().flat_map(|slices| slices.endpoints());
            let all: BTreeMap<_, _> = all.map(|endpoint| (Arc::clone(&endpoint.id), endpoint)).collect();
            prop_assert_eq!(&known, &all);
            prop_assert_eq!(store.size, fresh.size);
        }
    }
}
