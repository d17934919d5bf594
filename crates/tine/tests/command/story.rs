//! The main job from end to end, as the README and the demo tell it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use crate::common::{Bench, tool};

#[test]
fn story_of_the_readme() {
    let (Some(mke2fs), Some(e2fsck)) = (tool("mke2fs"), tool("e2fsck")) else {
        return eprintln!("skipped: mke2fs and e2fsck are needed (package e2fsprogs)");
    };
    let bench = Bench::new();
    fs::create_dir(bench.path("rootfs")).unwrap();
    fs::write(bench.path("rootfs/hello.txt"), "hello\n".repeat(1000)).unwrap();
    let made = Command::new(mke2fs)
        .args(["-q", "-t", "ext4", "-d", "rootfs", "golden.img", "64M"])
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    assert!(made.status.success());

    bench.succeeds("tine import golden.img golden");
    bench.succeeds("tine fork golden web1");
    bench.succeeds("tine snapshot web1@clean");
    prints!(bench,
        "printf 'what a mess' | tine write web1 --offset 4096",
        "tine diff golden web1",
        "tine diff web1@clean web1 --stat --json",
        "tine ls",
        "tine tree";
        @r#"
    $ printf 'what a mess' | tine write web1 --offset 4096
    ! Wrote 11 B to `web1` at 4096
    [0]
    $ tine diff golden web1
               4096         4096
    ! `golden` and `web1` differ in 1 range, 4.0 KiB
    [0]
    $ tine diff web1@clean web1 --stat --json
    {"a":"web1@clean","b":"web1","a_size":67108864,"b_size":67108864,"ranges":1,"bytes":4096}
    [0]
    $ tine ls
    NAME        SIZE  WRITTEN  ORIGIN  SNAPSHOTS  CREATED (UTC)
    golden  64.0 MiB      0 B  -               0  [time]
    web1    64.0 MiB  4.0 KiB  golden          1  [time]
    [0]
    $ tine tree
    web1@clean, (golden when it was forked) [320.0 KiB]
    ├─ golden
    └─ web1 [4.0 KiB]
    [0]
    "#);
    bench.succeeds("tine rollback web1@clean --yes");
    bench.succeeds("tine export web1 web1.img");
    assert!(fs::read(bench.path("golden.img")).unwrap() == fs::read(bench.path("web1.img")).unwrap());
    let judged = Command::new(e2fsck)
        .args(["-fn", "web1.img"])
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    assert!(
        judged.status.success(),
        "{}",
        String::from_utf8_lossy(&judged.stdout)
    );
    prints!(bench, "tine rollback web1", "tine check --data >/dev/null"; @"
    $ tine rollback web1
    ! Rolled `web1` back to what it was forked from (`golden` then); nothing was lost
    [0]
    $ tine check --data >/dev/null
    [0]
    ");
}

#[test]
fn a_directory_becomes_a_file_system() {
    if tool("mke2fs").is_none() {
        return eprintln!("skipped: mke2fs is needed (package e2fsprogs)");
    }
    let bench = Bench::new();
    fs::create_dir(bench.path("rootfs")).unwrap();
    fs::write(bench.path("rootfs/hello.txt"), "hello\n").unwrap();
    bench.succeeds("tine import rootfs golden --size 32MiB");
    bench.succeeds("tine export golden golden.img");
    let image = fs::File::open(bench.path("golden.img")).unwrap();
    let mut magic = [0; 2];
    image.read_exact_at(&mut magic, 1024 + 0x38).unwrap();
    assert_eq!(magic, [0x53, 0xef], "an ext4 superblock");
    assert_eq!(image.metadata().unwrap().len(), 32 << 20);
}

#[test]
fn demo_holds() {
    let bench = Bench::new();
    let shown = bench.succeeds("TMPDIR=$PWD tine demo --forks 20");
    assert!(shown.contains("Everything held."), "{shown}");
    // What there is a client for is played, through a real server.
    for (client, scenes) in [
        (
            ["qemu-io", "nbdcopy"].as_slice(),
            ["tine serve &", "Serving ", "kill %1"].as_slice(),
        ),
        (
            &["qemu-io"],
            &[
                "qemu-io -f raw -c 'write",
                "golden+fork?socket=",
                "wrote 1048576/1048576",
            ],
        ),
        (&["nbdcopy"], &["nbdcopy 'nbd+unix:///"]),
    ] {
        if client.iter().any(|program| tool(program).is_some()) {
            for scene in scenes {
                assert!(shown.contains(scene), "no `{scene}` in {shown}");
            }
        } else {
            eprintln!("skipped: demo_holds: {client:?} are missing, so their scenes are not played");
        }
    }
    assert!(
        fs::read_dir(bench.path("")).unwrap().next().is_none(),
        "the demo cleans up"
    );
}
