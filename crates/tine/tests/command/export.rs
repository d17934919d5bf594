//! Images: what they are made of, and what they never overwrite.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::common::Bench;

#[test]
fn an_export_refuses_what_would_do_harm() {
    let bench = Bench::with_disk();
    bench.succeeds("tine create huge 4EiB");
    prints!(bench,
        "tine export disk newd/",
        "tine export disk $TINE_STORE/store.json --force",
        "tine export disk $TINE_STORE/segments/../new.img",
        r"tine export disk $(printf '\376.img') --json --quiet";
        @r#"
    $ tine export disk newd/
    ! error: there is no directory `newd/`
    ! hint: make it first, or name a file elsewhere
    [2]
    $ tine export disk $TINE_STORE/store.json --force
    ! error: `[store]/store.json` is within the store
    ! hint: name a file elsewhere
    [2]
    $ tine export disk $TINE_STORE/segments/../new.img
    ! error: `[store]/segments/../new.img` is within the store
    ! hint: name a file elsewhere
    [2]
    $ tine export disk $(printf '\376.img') --json --quiet
    {"name":"disk","file":"�.img","size":16777216,"data":1048576}
    [0]
    "#);
    // A file system such as tmpfs takes it.
    let image = bench.path("huge.img");
    if fs::File::create(&image).unwrap().set_len(4 << 60).is_err() {
        fs::remove_file(&image).unwrap();
        prints!(bench, "tine export huge huge.img"; @"
    $ tine export huge huge.img
    ! error: `huge.img`: its file system takes no file of 4.0 EiB
    ! hint: name a file on another, or `tine export huge - | …` without one
    [2]
    ");
        assert!(!bench.path("huge.img.partial").exists());
    }
    bench.succeeds("tine check --data");
}

#[test]
fn an_image_that_replaces_another_is_no_more_public() {
    let bench = Bench::with_disk();
    prints!(bench,
        "umask 022 && tine export disk new.img --quiet && stat -c %a new.img",
        "chmod 600 new.img && umask 022 && tine export disk new.img --quiet --force && stat -c %a new.img",
        "chmod 664 new.img && umask 077 && tine export disk new.img --quiet --force && stat -c %a new.img",
        "touch new.img.partial && tine export disk new.img --quiet --force && ls";
        @"
    $ umask 022 && tine export disk new.img --quiet && stat -c %a new.img
    644
    [0]
    $ chmod 600 new.img && umask 022 && tine export disk new.img --quiet --force && stat -c %a new.img
    600
    [0]
    $ chmod 664 new.img && umask 077 && tine export disk new.img --quiet --force && stat -c %a new.img
    664
    [0]
    $ touch new.img.partial && tine export disk new.img --quiet --force && ls
    new.img
    [0]
    ");
    let owner = (1234, 4321);
    if std::os::unix::fs::chown(bench.path("new.img"), Some(owner.0), Some(owner.1)).is_err() {
        return eprintln!("the owner is left out: only root can give files away");
    }
    bench.succeeds("tine export disk new.img --force");
    let replaced = fs::metadata(bench.path("new.img")).unwrap();
    assert_eq!((replaced.uid(), replaced.gid()), owner);
}
