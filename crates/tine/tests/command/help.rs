//! What the command says of itself: help, usage, manual pages, completions.

use std::fs;

use crate::common::Bench;

#[test]
fn help_tells_everything() {
    let bench = Bench::new();
    insta::assert_snapshot!("help", bench.session("tine --help"));
}

#[test]
fn usage_shows_what_is_needed_and_no_more() {
    let bench = Bench::new();
    prints!(bench,
        "tine fork",
        "tine ls --store ''",
        "tine snapshot --help | head -5";
        @"
    $ tine fork
    ! error: the following required arguments were not provided:
    !   <SOURCE>
    ! 
    ! Usage: tine fork <SOURCE> [NAME]
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine ls --store ''
    ! error: a value is required for '--store <DIR>' but none was supplied
    ! 
    ! For more information, try '--help'.
    [2]
    $ tine snapshot --help | head -5
    Names the present state of branches, to come back to

    A snapshot can be rolled back to, forked, compared and exported. Several branches are taken at one
    instant, all or none: a machine with two disks stays in step with itself.

    [0]
    ");
}

#[test]
fn manual_and_completions_are_whole() {
    let bench = Bench::new();
    bench.succeeds("tine man --dir man");
    let pages = fs::read_dir(bench.path("man")).unwrap().count();
    assert_eq!(pages, 21, "a page for tine and for each command");
    assert!(bench.succeeds("tine man fork").contains(".SH EXAMPLES"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            bench
                .succeeds(&format!("tine completions {shell}"))
                .contains("rollback")
        );
    }
}
