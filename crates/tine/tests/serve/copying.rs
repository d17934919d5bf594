//! Disks that go in and out by the tools that people have.

use crate::daemon::{Daemon, golden, have, same};

#[test]
fn nbdcopy_goes_both_ways_with_many_connections() {
    if !have(&["nbdcopy"], "nbdcopy_goes_both_ways") {
        return;
    }
    let bench = golden();
    bench.succeeds("tine create empty 32MiB");
    let daemon = Daemon::start(&bench, "");
    let (golden, empty) = (daemon.uri("golden"), daemon.uri("empty"));
    bench.succeeds(&format!(
        "nbdcopy --connections=4 --requests=64 '{golden}' out.img"
    ));
    assert!(same(&bench, "golden.img", "out.img"));
    bench.succeeds(&format!("nbdcopy --connections=4 --flush golden.img '{empty}'"));
    bench.succeeds(&format!("nbdcopy '{empty}' again.img"));
    assert!(same(&bench, "golden.img", "again.img"));
    // From one disk of the store to another, and holes stay holes.
    bench.succeeds(&format!("nbdcopy --flush '{golden}' '{}'", daemon.uri("empty")));
    daemon.stop();
    bench.succeeds("tine diff golden empty --exit-code");
    bench.succeeds("tine check --data");
}

#[test]
fn qemu_img_converts_compares_maps_and_benches() {
    if !have(&["qemu-img"], "qemu_img_converts") {
        return;
    }
    let bench = golden();
    bench.succeeds("tine create empty 32MiB");
    let daemon = Daemon::start(&bench, "");
    let (golden, empty) = (daemon.uri("golden"), daemon.uri("empty"));
    let info = bench.succeeds(&format!("qemu-img info --output=json '{golden}'"));
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["virtual-size"], 32 << 20);
    bench.succeeds(&format!("qemu-img convert -O qcow2 '{golden}' out.qcow2"));
    bench.succeeds(&format!("qemu-img compare '{golden}' out.qcow2"));
    bench.succeeds(&format!("qemu-img convert -n -O raw out.qcow2 '{empty}'"));
    bench.succeeds(&format!("qemu-img compare '{golden}' '{empty}'"));
    let map = bench.succeeds(&format!("qemu-img map --output=json '{empty}'"));
    let map: serde_json::Value = serde_json::from_str(&map).unwrap();
    let data: u64 = map
        .as_array()
        .unwrap()
        .iter()
        .filter(|extent| extent["data"] == true)
        .map(|extent| extent["length"].as_u64().unwrap())
        .sum();
    assert_eq!(data, 8 << 20, "zeroes take no space");
    bench.succeeds(&format!(
        "qemu-img bench -w -f raw -c 2000 -d 32 -s 4096 '{}'",
        daemon.uri("golden+fork")
    ));
    bench.succeeds(&format!(
        "qemu-img bench -f raw -c 2000 -d 16 -s 65536 '{golden}'"
    ));
    daemon.stop();
    bench.succeeds("tine diff golden golden@v1 --exit-code && tine diff golden empty --exit-code");
}

#[test]
fn qemu_io_writes_zeroes_trims_and_flushes() {
    if !have(&["qemu-io"], "qemu_io_writes") {
        return;
    }
    let bench = golden();
    bench.succeeds("tine fork golden web1");
    let daemon = Daemon::start(&bench, "");
    let uri = daemon.uri("web1");
    let io = |commands: &[&str]| {
        let commands: Vec<_> = commands.iter().map(|command| format!("-c '{command}'")).collect();
        let said = bench.succeeds(&format!("qemu-io -f raw {} '{uri}'", commands.join(" ")));
        assert!(!said.contains("failed"), "{said}");
    };
    io(&[
        "write -P 17 1M 1M",
        "write -f -P 18 2M 3k",
        "write -z 5M 64k",
        "write -z -u 6M 64k",
        "discard 7M 1M",
        "aio_write -P 19 20M 1M",
        "aio_write -P 20 21M 1M",
        "aio_flush",
        "flush",
    ]);
    // Another process finds it, and so does one after kill -9.
    daemon.signal("-KILL");
    drop(daemon);
    let daemon = Daemon::start(&bench, "");
    let uri = daemon.uri("web1");
    let reads = [
        "read -P 17 1M 1M",
        "read -P 18 2M 3k",
        "read -P 0 5M 64k",
        "read -P 0 6M 64k",
        "read -P 0 7M 1M",
        "read -P 19 20M 1M",
        "read -P 20 21M 1M",
    ];
    let commands: Vec<_> = reads.iter().map(|command| format!("-c '{command}'")).collect();
    let said = bench.succeeds(&format!("qemu-io -f raw -r {} '{uri}'", commands.join(" ")));
    assert!(!said.contains("verification failed"), "{said}");
}

#[test]
fn nbdkit_stands_in_front() {
    if !have(&["nbdkit", "nbdcopy", "nbdinfo"], "nbdkit_stands_in_front") {
        return;
    }
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let (socket, name) = (daemon.socket.display(), "golden+fork=job");
    let run = |filters: &str, command: &str| {
        bench.succeeds(&format!(
            "nbdkit -U - {filters} nbd socket='{socket}' export='{name}' --run '{command}'"
        ))
    };
    run("", "nbdcopy \"$uri\" out.img");
    assert!(same(&bench, "golden.img", "out.img"));
    run("--filter=fua --filter=cache", "nbdcopy --flush noise \"$uri\"");
    run("", "nbdcopy \"$uri\" changed.img");
    let changed = std::fs::read(bench.path("changed.img")).unwrap();
    let noise = std::fs::read(bench.path("noise")).unwrap();
    assert!(changed[..noise.len()] == noise);
    assert!(same(&bench, "golden.img", "out.img"));
}

#[test]
fn fio_writes_and_verifies() {
    // Its nbd engine is a library's, which not every build has.
    if !have(&["fio"], "fio_writes") {
        return;
    }
    let bench = golden();
    if !bench.succeeds("fio --enghelp").contains("nbd") {
        eprintln!("skipped: fio_writes: this fio has no nbd engine");
        return;
    }
    let daemon = Daemon::start(&bench, "");
    bench.succeeds(&format!(
        "fio --name=v --ioengine=nbd --uri='{}' --rw=randwrite --bs=4k,8k,64k --size=32M --io_size=64M \
         --iodepth=32 --verify=crc32c --verify_fatal=1 --do_verify=1 --fsync=64 --randrepeat=1",
        daemon.uri("golden+fork=fio")
    ));
    bench.succeeds(&format!(
        "fio --name=t --ioengine=nbd --uri='{}' --rw=randtrim --bs=64k --size=32M --iodepth=8",
        daemon.uri("golden+fork")
    ));
    bench.succeeds("tine diff golden golden@v1 --exit-code && tine check --data");
}
