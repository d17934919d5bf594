//! What the command says of itself: help, usage, manual pages, completions.

use std::fs;

use crate::common::{Bench, tool};

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
    ! error: `tine fork` needs <SOURCE>
    ! usage: tine fork <SOURCE> [NAME]
    ! hint: `tine fork --help` tells more
    [2]
    $ tine ls --store ''
    ! error: `--store` needs a value
    ! hint: `tine ls --help` tells more
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
    assert_eq!(pages, 30, "a page for tine and for each command");
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            bench
                .succeeds(&format!("tine completions {shell}"))
                .contains("rollback")
        );
    }
}

#[test]
fn manual_pages_are_right_to_the_typesetter() {
    let bench = Bench::new();
    bench.succeeds("tine man --dir man");
    assert_eq!(
        bench.succeeds("tine man fork"),
        bench.succeeds("cat man/tine-fork.1")
    );
    if tool("groff").is_none() {
        return eprintln!("skipped: groff is needed (package groff-base)");
    }
    for page in fs::read_dir(bench.path("man")).unwrap() {
        let page = page.unwrap().file_name().into_string().unwrap();
        let output = bench.run(&format!("groff -ww -man -Tutf8 -rLL=78n man/{page}"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
    }
    let shown = bench.succeeds("tine man rollback | groff -man -Tascii -P-cbou -rLL=78n | sed -n 6,8p");
    insta::assert_snapshot!(shown, @"
           tine-rollback - makes a branch equal to its snapshot or origin again

    SYNOPSIS
    ");
}

#[test]
fn on_a_terminal_the_manual_page_is_shown_by_man() {
    let Some(_) = tool("script") else {
        return eprintln!("skipped: script is needed (package bsdutils)");
    };
    let bench = Bench::new();
    bench.succeeds(
        "mkdir bin && printf '#!/bin/sh\\necho shown by man $*; head -1\\n' >bin/man && chmod +x bin/man",
    );
    let shown = bench.succeeds("PATH=$PWD/bin:$PATH script -qec 'tine man fork' /dev/null");
    assert!(shown.starts_with("shown by man -l -\r\n.TH TINE"), "{shown}");
}

#[test]
fn help_is_there_for_the_asking() {
    let bench = Bench::new();
    assert_eq!(
        bench.succeeds("tine help fork"),
        bench.succeeds("tine fork --help")
    );
    assert_eq!(bench.succeeds("tine help"), bench.succeeds("tine --help"));
    prints!(bench,
        "tine help frok",
        "tine man frok",
        "tine frok golden",
        "tine lis",
        "tine rm web1",
        "tine levitate",
        "tine fork golden --cuont 3",
        "tine --jsno ls",
        "tine ls golden",
        "tine fork golden --count",
        "tine --json",
        "tine man fork --dir man",
        "tine ls --quiet --quiet",
        "tine completions fihs";
        @"
    $ tine help frok
    ! error: no command named `frok`
    ! hint: did you mean `fork`? `tine help` shows all commands
    [2]
    $ tine man frok
    ! error: no command named `frok`
    ! hint: did you mean `fork`? `tine help` shows all commands
    [2]
    $ tine frok golden
    ! error: no command named `frok`
    ! hint: did you mean `fork`? `tine help` shows all commands
    [2]
    $ tine lis
    ! error: no command named `lis`
    ! hint: did you mean `ls`? `tine help` shows all commands
    [2]
    $ tine rm web1
    ! error: no command named `rm`
    ! hint: did you mean `drop`? `tine help` shows all commands
    [2]
    $ tine levitate
    ! error: no command named `levitate`
    ! hint: `tine help` shows all commands
    [2]
    $ tine fork golden --cuont 3
    ! error: `tine fork` has no option `--cuont`
    ! hint: did you mean `--count`? `tine fork --help` shows all
    [2]
    $ tine --jsno ls
    ! error: `tine` has no option `--jsno`
    ! hint: did you mean `--json`? `tine --help` shows all
    [2]
    $ tine ls golden
    ! error: `tine ls` does not know what to do with `golden`
    ! usage: tine ls [OPTIONS]
    ! hint: `tine ls --help` tells what it takes
    [2]
    $ tine fork golden --count
    ! error: `--count` needs a value
    ! hint: `tine fork --help` tells more
    [2]
    $ tine --json
    ! error: no command is given
    ! usage: tine [OPTIONS] <COMMAND>
    ! hint: `tine help` shows all commands
    [2]
    $ tine man fork --dir man
    ! error: `[COMMAND]` does not go together with `--dir <DIR>`
    ! hint: `tine man --help` tells more
    [2]
    $ tine ls --quiet --quiet
    ! error: `--quiet` is given more than once
    ! hint: `tine ls --help` tells more
    [2]
    $ tine completions fihs
    ! error: `fihs` will not do for <SHELL>
    ! hint: did you mean `fish`? it is one of bash, elvish, fish, powershell, zsh
    [2]
    ");
}

#[test]
fn help_fits_a_narrow_terminal() {
    let Some(_) = tool("script") else {
        return eprintln!("skipped: script is needed (package bsdutils)");
    };
    let bench = Bench::new();
    let help = |columns: u32, line: &str| {
        let on_terminal = format!("NO_COLOR=1 script -qec 'stty cols {columns} rows 24; {line}' /dev/null");
        bench.succeeds(&on_terminal)
    };
    for line in ["tine help", "tine --help"] {
        let shown = help(40, line);
        // What cannot be broken may be longer: a word, an example, an option with its value.
        let long = shown
            .lines()
            .filter(|line| line.trim_end().chars().count() > 80)
            .count();
        assert_eq!(long, 0, "{shown}");
        assert!(shown.lines().count() > help(100, line).lines().count(), "{line}");
    }
}
