//! What the documents show is what the command prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Bench, tool};

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(name)).unwrap()
}

/// Leaves out what differs from run to run: figures, and how far they make a column reach.
fn without_figures(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' | '.' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            ' ' if plain.ends_with([' ', '\n']) || plain.is_empty() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[test]
fn readme_shows_what_is_printed() {
    if tool("mke2fs").is_none() {
        return eprintln!("skipped: mke2fs is needed (package e2fsprogs)");
    }
    let readme = document("README.md");
    let session = readme.split("## Use it").nth(1).unwrap();
    let session = session
        .split("```")
        .nth(1)
        .unwrap()
        .strip_prefix("console\n")
        .unwrap();
    let bench = Bench::new();
    fs::create_dir(bench.path("docs")).unwrap();
    fs::write(bench.path("docs/format.md"), document("docs/format.md")).unwrap();
    let home = bench.path("").display().to_string();
    let mut commands = 0;
    for step in session.split("\n$ ").map(|step| step.trim_start_matches("$ ")) {
        let (typed, shown) = step.split_once('\n').unwrap_or((step, ""));
        let command = typed.split(" #").next().unwrap().trim();
        if command.starts_with("export ") {
            assert_eq!(command, "export TINE_STORE=~/forks");
            continue;
        }
        let line = format!("exec 2>&1; TINE_STORE={home}/forks; {command}");
        let printed = bench.run(&line).stdout;
        let printed = String::from_utf8(printed).unwrap().replace(&home, "/home/me/");
        let (printed, shown) = (printed.replace("//", "/"), shown.trim_end());
        assert_eq!(
            without_figures(printed.trim_end()),
            without_figures(shown),
            "$ {command}"
        );
        commands += 1;
    }
    assert_eq!(commands, session.matches("\n$ ").count());
}

/// Adds the names of all fields within `value`, those of groups with the group before them.
fn fields(value: &Value, group: &str, names: &mut BTreeSet<String>) {
    let Value::Object(map) = value else {
        return;
    };
    for (name, value) in map {
        let name = format!("{group}{name}");
        match value {
            Value::Object(_) => fields(value, &format!("{name}."), names),
            Value::Array(list) => {
                list.iter().for_each(|value| fields(value, "", names));
                names.insert(name);
            }
            _ => {
                names.insert(name);
            }
        }
    }
}

/// Returns the fields that the first table of a section of docs/json.md names.
fn fields_in_table(section: &str) -> BTreeSet<String> {
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let named = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    named.map(str::to_owned).collect()
}

#[test]
fn every_field_of_json_is_documented() {
    let bench = Bench::with_disk();
    let told = document("docs/json.md");
    for line in [
        "tine stats",
        "tine memory demo --size 1MiB --forks 10",
        "tine create made 1M",
        "head -c 4096 /dev/urandom | tine import - imported",
        "tine fork disk web",
        "tine snapshot web@clean",
        "printf x | tine write web",
        "tine ls",
        "tine show web",
        "tine show web@clean",
        "tine tree",
        "tine diff disk web",
        "tine diff disk web --stat",
        "tine rollback web@clean --yes",
        "tine rename web shop",
        "tine resize shop 20M",
        "tine protect shop",
        "tine unprotect shop",
        "tine export shop shop.img",
        "tine defrag shop --shared --yes",
        "tine drop shop --yes",
        "tine check --data",
        "rm $TINE_STORE/segments/*; ! tine check",
    ] {
        let (command, heading) = (format!("{line} --json"), line.rsplit("tine ").next().unwrap());
        let heading = heading.split(' ').next().unwrap();
        let printed = bench.succeeds(&command);
        assert!(!printed.is_empty(), "{line}");
        let mut names = BTreeSet::new();
        for object in printed.lines() {
            fields(&serde_json::from_str(object).unwrap(), "", &mut names);
        }
        // The section of the command, or its row.
        let part = told
            .split("\n###")
            .filter(|part| {
                part.lines()
                    .next()
                    .unwrap_or_default()
                    .contains(&format!("`tine {heading}"))
            })
            .chain(
                told.lines()
                    .filter(|row| row.starts_with(&format!("| `{heading}`"))),
            )
            .collect::<String>();
        assert!(!part.is_empty(), "{line} is not in docs/json.md");
        if heading == "stats" {
            // Nothing of it is left out anywhere: so all that is documented is there, too.
            let documented = fields_in_table(&part);
            assert!(documented.len() > 1, "no table tells of {line}");
            let missing: Vec<_> = documented.difference(&names).collect();
            assert!(
                missing.is_empty(),
                "{line} is documented with {missing:?}, and does not print it"
            );
        }
        for name in names {
            assert!(
                part.contains(&format!("`{name}`")) || part.contains(&format!("\"{name}\"")),
                "{line}: {name}"
            );
        }
    }
}
