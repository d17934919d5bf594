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
