//! What the documents say of the code, as far as a program can tell: tests only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;

/// Returns the files of a folder, and of those in it, that end in one of these.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings
            .iter()
            .any(|ending| path.to_string_lossy().ends_with(ending))
        {
            found.push(path);
        }
    }
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = shell::root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the numbers that follow `rule ` or `rules ` in a text: `5`, `2, 3`, `6–11`, `7 and 12`.
fn cited(text: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let lower = text.to_lowercase();
    for (at, _) in lower.match_indices("rule") {
        let rest = &lower[at + 4..];
        let Some(rest) = rest.strip_prefix("s ").or_else(|| rest.strip_prefix(' ')) else {
            continue;
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && !" ,–-and".contains(c));
        let list = &rest[..end.unwrap_or(rest.len())];
        numbers.extend(
            list.split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse::<u32>().ok()),
        );
    }
    numbers
}

/// Returns what stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_rule_that_is_cited_is_told() {
    let engine = read("docs/engine.md");
    let told: BTreeSet<u32> = engine
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.split_once(". ")?.0.parse().ok())
        .collect();
    assert!(told.iter().copied().eq(1..=28), "{told:?}");
    let sources = files(&shell::root().join("crates"), &[".rs"]);
    let cites: Vec<_> = sources.iter().map(|path| (path, cited(&read(path)))).collect();
    assert!(cites.iter().filter(|(_, cited)| !cited.is_empty()).count() > 5);
    for (path, cited) in cites {
        assert!(cited.is_subset(&told), "{} cites {cited:?}", path.display());
    }
}

#[test]
fn what_engine_md_names_is_there() {
    let engine = read("docs/engine.md");
    let sources = shell::root().join("crates/tine-store/src");
    let code: String = files(&shell::root().join("crates"), &[".rs"])
        .iter()
        .map(read)
        .collect();
    let bugs = read("crates/tine-store/src/planted.rs");
    for name in quoted(&engine) {
        // `file.rs::function`, a file or a folder below one of the roots
        let (path, function) = name
            .split_once("::")
            .map_or((name, None), |(path, name)| (path, Some(name)));
        if path.ends_with(".rs") || path.contains('/') {
            let bases = [
                shell::root().to_path_buf(),
                sources.clone(),
                shell::root().join("crates/tine-store"),
            ];
            let found = bases
                .iter()
                .map(|base| base.join(path))
                .find(|path| path.exists());
            let found = found.unwrap_or_else(|| panic!("{name} is not there"));
            if let Some(function) = function {
                assert!(read(found).contains(&format!("fn {function}")), "{name}");
            }
        } else if path.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            // an item: a function, a type, a constant, a record's part
            assert!(code.contains(function.unwrap_or(path)), "{name}");
        }
    }
    for line in engine.replace('\n', " ").split("planted ").skip(1) {
        for bug in line
            .split(". ")
            .next()
            .map(quoted)
            .into_iter()
            .flatten()
            .filter(|name| name.contains('-'))
        {
            assert!(bugs.contains(&format!("\"{bug}\"")), "no bug {bug}");
        }
    }
}

#[test]
fn nothing_refers_to_what_a_clone_has_not() {
    let root = shell::root();
    let mut found = Vec::new();
    for folder in ["crates", "bench", "docs", "xtask", "fuzz/fuzz_targets"] {
        found.extend(files(&root.join(folder), &[".rs", ".md", ".toml"]));
    }
    found.extend(
        [
            "ARCHITECTURE.md",
            "README.md",
            "CHANGELOG.md",
            "Cargo.toml",
            "deny.toml",
        ]
        .map(|name| root.join(name)),
    );
    // Put together, or this file would be found.
    let absent = [
        ["engine", "-rules"].concat(),
        ["design", ".md"].concat(),
        ["../", "shared/"].concat(),
    ];
    for path in found {
        let text = read(&path);
        for name in &absent {
            assert!(!text.contains(name), "{} speaks of {name}", path.display());
        }
    }
}

#[test]
fn citations_are_read() {
    let text = "(rule 5) Rules 7 and 12, rules 6–11; (rules 2, 3): rule of 4";
    assert_eq!(cited(text), [2, 3, 5, 6, 7, 11, 12].into());
}
