//! The first things a map must do.
use std::collections::BTreeMap;
use tine_values::RadixMap;

#[test]
fn smoke() {
    let mut seed = 12345u64;
    let mut rnd = move |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    for round in 0..40u64 {
        let base = [0, 0, u64::MAX - 9_999, 1 << 40][(round % 4) as usize];
        let size = [200, 9_999, 9_999, 5_000][(round % 4) as usize];
        let mut versions: Vec<(RadixMap<u64>, BTreeMap<u64, u64>)> = vec![Default::default(); 4];
        for step in 0..60 {
            let from = rnd(4) as usize;
            let to = rnd(4) as usize;
            versions[to] = versions[from].clone();
            let (map, model) = &mut versions[to];
            let a = rnd(size);
            let b = (a + rnd(size - a + 1).min(if rnd(4) == 0 { 300 } else { size })).min(size);
            let (a, b) = (base + a, base + b);
            match rnd(6) {
                0 | 1 => assert_eq!(map.insert(a, step), model.insert(a, step)),
                2 => assert_eq!(map.remove(a), model.remove(&a)),
                3 => {
                    let mut old = vec![];
                    map.fill(a..b, step, |r, v| r.for_each(|k| old.push((k, *v))));
                    assert_eq!(old, model.range(a..b).map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
                    (a..b).for_each(|k| {
                        model.insert(k, step);
                    });
                }
                4 => {
                    let mut old = vec![];
                    map.clear_range(a..b, |r, v| r.for_each(|k| old.push((k, *v))));
                    assert_eq!(old, model.range(a..b).map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
                    (a..b).for_each(|k| {
                        model.remove(&k);
                    });
                }
                _ => {
                    let mut old = vec![];
                    map.insert_run(a, (a..b).collect::<Vec<_>>().into_iter(), |k, v| old.push((k, v)));
                    assert_eq!(old, model.range(a..b).map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
                    (a..b).for_each(|k| {
                        model.insert(k, k);
                    });
                }
            }
            for (map, model) in &versions {
                let all: Vec<_> = map
                    .iter()
                    .flat_map(|(r, v)| {
                        if r.is_empty() {
                            vec![(r.start, *v)]
                        } else {
                            r.map(|k| (k, *v)).collect()
                        }
                    })
                    .collect();
                assert_eq!(all, model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
                let k = base + rnd(size);
                assert_eq!(map.get(k), model.get(&k));
                let part: Vec<_> = map.range(a..b).flat_map(|(r, v)| r.map(|k| (k, *v))).collect();
                assert_eq!(part, model.range(a..b).map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            }
            let (x, y) = (&versions[0], &versions[1]);
            let got: Vec<_> =
                x.0.diff(&y.0)
                    .flat_map(|(r, a, b)| {
                        assert!(!r.is_empty());
                        r.map(move |k| (k, a.copied(), b.copied()))
                    })
                    .collect();
            let mut want = vec![];
            for k in
                x.1.keys()
                    .chain(y.1.keys())
                    .collect::<std::collections::BTreeSet<_>>()
            {
                if x.1.get(k) != y.1.get(k) {
                    want.push((*k, x.1.get(k).copied(), y.1.get(k).copied()));
                }
            }
            assert_eq!(got, want);
        }
    }
}
