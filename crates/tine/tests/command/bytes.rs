//! Bytes go in and come out as they are; comparisons tell the truth.

use crate::common::Bench;

#[test]
fn bytes_come_back_as_they_went_in() {
    let bench = Bench::with_disk();
    prints!(bench,
        "printf 'hello' | tine write disk --offset 1_000",
        "tine read disk --offset 998 --length 9 | tr '\\0' .",
        "tine write disk --offset 16777214 --length 2 </dev/zero --json",
        "tine diff disk disk --exit-code",
        "tine fork disk other --quiet && printf x | tine write other --quiet && tine diff disk other --exit-code --json";
        @r#"
    $ printf 'hello' | tine write disk --offset 1_000
    ! Wrote 5 B to `disk` at 1000
    [0]
    $ tine read disk --offset 998 --length 9 | tr '\0' .
    e
    helloti
    [0]
    $ tine write disk --offset 16777214 --length 2 </dev/zero --json
    {"name":"disk","offset":16777214,"length":2}
    ! Wrote 2 B to `disk` at 16777214
    [0]
    $ tine diff disk disk --exit-code
    ! `disk` and `disk` are equal
    [0]
    $ tine fork disk other --quiet && printf x | tine write other --quiet && tine diff disk other --exit-code --json
    {"offset":0,"length":4096}
    ! `disk` and `other` differ in 1 range, 4.0 KiB
    [1]
    "#);
}

#[test]
fn who_stops_reading_does_not_change_the_answer() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk other && printf x | tine write other");
    for (line, status) in [
        ("tine diff disk other --exit-code", "1"),
        ("tine diff disk other --exit-code --stat", "1"),
        ("tine diff disk other --exit-code --json", "1"),
        ("tine diff disk other", "0"),
        ("tine diff disk disk --exit-code --stat", "0"),
        ("tine ls", "0"),
    ] {
        // The reader is gone before anything is printed.
        bench.succeeds(&format!("{{ sleep 0.2; {line}; echo $? >status; }} | :"));
        assert_eq!(bench.succeeds("cat status").trim(), status, "{line}");
    }
}

#[test]
fn a_closed_standard_output_takes_no_data() {
    let bench = Bench::with_disk();
    for line in [
        "tine ls >&-",
        "tine export disk - >&-",
        "tine read disk >&-",
        "tine --help >&-",
        "tine fork disk x --json >&-",
    ] {
        let output = bench.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(
            said.contains("error: cannot write to standard output: Bad file descriptor"),
            "{line}: {said}"
        );
    }
    // What prints nothing needs none; and /dev/null is a place like others, however it was opened.
    for line in [
        "tine fork disk y >&-",
        "tine export disk disk.img >&-",
        "tine ls >/dev/null",
        "tine ls 1<>/dev/null",
        "tine export disk - 1<>/dev/null",
    ] {
        bench.succeeds(line);
    }
}

#[test]
fn a_disk_without_bytes_comes_back() {
    let bench = Bench::new();
    prints!(bench,
        "tine create none 0 --quiet && tine export none none.img && wc -c <none.img",
        "tine import none.img again --json --quiet",
        "tine diff none again --exit-code";
        @r#"
    $ tine create none 0 --quiet && tine export none none.img && wc -c <none.img
    0
    ! Exported `none` to `none.img`: 0 B, 0 B of it data, in [seconds]
    [0]
    $ tine import none.img again --json --quiet
    {"name":"again","size":0,"data":0}
    [0]
    $ tine diff none again --exit-code
    ! `none` and `again` are equal
    [0]
    "#);
    // A file of the kernel's has bytes, but no length.
    bench.succeeds("tine import /proc/self/status status --quiet");
    assert!(bench.succeeds("tine read status").starts_with("Name:"));
}

#[test]
fn a_question_of_scripts_is_answered_by_the_status_alone() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk same && tine fork disk other && printf x | tine write other");
    bench.succeeds("tine create long 10MiB && tine create short 10000001");
    prints!(bench,
        "tine diff disk same --exit-code --quiet",
        "tine diff disk other --exit-code --quiet",
        "tine diff disk other --exit-code --quiet --stat --json",
        "tine diff disk other --quiet",
        "tine diff short long --exit-code --quiet",
        "tine diff short long";
        @"
    $ tine diff disk same --exit-code --quiet
    [0]
    $ tine diff disk other --exit-code --quiet
    [1]
    $ tine diff disk other --exit-code --quiet --stat --json
    [1]
    $ tine diff disk other --quiet
                  0         4096
    [0]
    $ tine diff short long --exit-code --quiet
    [1]
    $ tine diff short long
           10000001       485759
    ! `short` and `long` differ in 1 range, 474.4 KiB; they are 9.5 MiB and 10.0 MiB long
    [0]
    ");
}
