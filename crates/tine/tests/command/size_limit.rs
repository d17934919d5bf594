//! Files that may not grow (`ulimit -f`): an error with its remedy, never a process that is gone without a word.

use crate::common::Bench;

fn fails(bench: &Bench, line: &str) -> String {
    let output = bench.run(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{line}: {said}");
    assert!(
        said.contains("error: ") && said.contains("hint: "),
        "{line}: {said}"
    );
    assert!(said.contains("ulimit -f"), "{line}: {said}");
    said
}

#[test]
fn a_command_under_a_limit_says_what_to_do() {
    let bench = Bench::with_disk();
    for line in [
        // The shell counts in blocks of 512 bytes: less than one frame of the journal, less than a segment.
        "ulimit -f 8; head -c 4M /dev/urandom | tine write disk",
        "ulimit -f 2000; head -c 4M /dev/urandom | tine write disk",
        "ulimit -f 2000; head -c 4M /dev/urandom | tine import - new",
        "ulimit -f 2000; tine --store another create disk 1M",
        // What it prints goes to a file, too.
        "ulimit -f 100; tine read disk >disk.img",
        "ulimit -f 100; tine export disk - >disk.img",
    ] {
        fails(&bench, line);
    }
    let said = fails(&bench, "ulimit -f 2000; tine export disk image");
    assert!(
        said.contains("is 1000.0 KiB") && said.contains("16.0 MiB are needed"),
        "{said}"
    );
    assert!(!bench.path("image").exists() && !bench.path("image.partial").exists());
    bench.succeeds(
        "tine check --data && yes tine | head -c 1M >was && tine read disk --length 1M | cmp - was",
    );
    assert_eq!(bench.run("tine show new").status.code(), Some(2));
}

#[test]
fn the_command_that_attach_runs_is_under_the_limit_as_anywhere_else() {
    let bench = Bench::with_disk();
    let output = bench.run("ulimit -f 2000; tine attach disk -- head -c 2M /dev/zero >grown");
    let killed = 128 + nix::sys::signal::Signal::SIGXFSZ as i32;
    assert_eq!(output.status.code(), Some(killed), "{output:?}");
}
