//! What clients see without touching anything: the list, sizes, what is stored where, what changed.

use serde_json::Value;

use crate::daemon::{Daemon, golden, have};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Returns `(offset, length, type)` of each extent.
fn map(bench: &crate::common::Bench, uri: &str, context: &str) -> Vec<(u64, u64, u64)> {
    let extents = json(&bench.succeeds(&format!("nbdinfo --json --map={context} '{uri}'")));
    let number = |extent: &Value, field: &str| extent[field].as_u64().unwrap();
    let extents = extents.as_array().unwrap().iter();
    extents
        .map(|extent| {
            (
                number(extent, "offset"),
                number(extent, "length"),
                number(extent, "type"),
            )
        })
        .collect()
}

#[test]
fn nbdinfo_lists_branches_and_snapshots_and_new_forks_at_once() {
    if !have(&["nbdinfo"], "nbdinfo_lists") {
        return;
    }
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let list = || {
        let list = json(&bench.succeeds(&format!("nbdinfo --json --list '{}'", daemon.uri(""))));
        let exports = list["exports"].as_array().unwrap().clone();
        assert!(exports.iter().all(|export| export["export-size"] == 32 << 20));
        assert!(
            exports
                .iter()
                .all(|export| export["description"].as_str().unwrap().contains("32.0 MiB"))
        );
        exports
            .iter()
            .map(|export| {
                let name = export["export-name"].as_str().unwrap().to_owned();
                (name, export["is_read_only"].as_bool().unwrap())
            })
            .collect::<Vec<_>>()
    };
    let known = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
        names
            .iter()
            .map(|(name, read_only)| ((*name).to_owned(), *read_only))
            .collect()
    };
    assert_eq!(list(), known(&[("golden", false), ("golden@v1", true)]));
    bench.succeeds("tine fork golden web1 && tine protect golden");
    assert_eq!(
        list(),
        known(&[("golden", true), ("golden@v1", true), ("web1", false)])
    );
    // Throwaway forks are nowhere in the list, also while there are some.
    let _fork = daemon.connect("golden+fork=job");
    assert_eq!(list().len(), 3);
}

#[test]
fn nbdinfo_maps_what_is_stored_and_what_changed() {
    if !have(&["nbdinfo"], "nbdinfo_maps") {
        return;
    }
    let bench = golden();
    bench.succeeds(
        "tine fork golden@v1 web1 && head -c 1M /dev/zero | tr '\\0' x | tine write web1 --offset 20M",
    );
    let daemon = Daemon::start(&bench, "");
    let (mib, uri) = (1 << 20, daemon.uri("web1"));
    let hole = 3;
    assert_eq!(
        map(&bench, &uri, "base:allocation"),
        [
            (0, 4 * mib, hole),
            (4 * mib, 8 * mib, 0),
            (12 * mib, 8 * mib, hole),
            (20 * mib, mib, 0),
            (21 * mib, 11 * mib, hole),
        ]
    );
    let changed = [(0, 20 * mib, 0), (20 * mib, mib, 1), (21 * mib, 11 * mib, 0)];
    assert_eq!(map(&bench, &uri, "tine:changed:golden@v1"), changed);
    // Of its own snapshots, too, those that are made while it is attached included.
    let mut client = daemon.connect("web1");
    bench.succeeds("tine snapshot web1@a");
    client.write(&[7; 8192], 4096).unwrap();
    client.leave().unwrap();
    let changed = [(0, 4096, 0), (4096, 8192, 1), (12288, 32 * mib - 12288, 0)];
    assert_eq!(map(&bench, &uri, "tine:changed:a"), changed);
}

#[test]
fn qemu_takes_what_changed_for_a_dirty_bitmap() {
    if !have(&["qemu-img"], "qemu_takes_what_changed") {
        return;
    }
    let bench = golden();
    bench.succeeds("head -c 64k /dev/zero | tr '\\0' x | tine write golden --offset 24M");
    let daemon = Daemon::start(&bench, "");
    let map = bench.succeeds(&format!(
        "qemu-img map --output=json --image-opts \
         driver=nbd,server.type=unix,server.path={},export=golden,x-dirty-bitmap=tine:changed:v1",
        daemon.socket.display()
    ));
    // It shows what is dirty as what has no data.
    let dirty: Vec<(u64, u64)> = json(&map)
        .as_array()
        .unwrap()
        .iter()
        .filter(|extent| extent["data"] == false)
        .map(|extent| {
            (
                extent["start"].as_u64().unwrap(),
                extent["length"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(dirty, [(24 << 20, 64 << 10)]);
}

#[test]
fn clients_are_named_where_a_user_looks_for_them() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let _first = daemon.connect("golden");
    let _fork = daemon.connect("golden+fork=job");
    let stats = json(&bench.succeeds("tine stats --json"));
    let clients = stats["clients"].as_array().unwrap();
    let exports: Vec<_> = clients
        .iter()
        .map(|client| client["export"].as_str().unwrap())
        .collect();
    assert_eq!(exports, ["golden", "golden+fork=job"]);
    assert_eq!(clients[0]["pid"], std::process::id());
    assert_eq!(stats["jobs"][0]["job"], "job");
    let shown = bench.succeeds("tine stats");
    assert!(shown.contains("golden+fork=job"), "{shown}");
}
