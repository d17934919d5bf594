//! What the workspace links: the licences, sources and versions of its dependencies, told from `cargo metadata`.
//!
//! This is the part of `deny.toml` that every machine can check in a second. cargo-deny, where it is installed, also
//! reads the licence texts themselves, and the advisories.
//!
//! **Invariant:** what is not understood is refused: a licence that cannot be parsed is not allowed, nor is a source
//! that is not known. A crate that is excepted from the licences may be linked by those alone that the file names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Result, shell, toolchain};

/// Where crates may come from, beside this repository.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every dependency against `deny.toml`.
///
/// # Errors
///
/// When one is not allowed; all of them are named.
pub(crate) fn check() -> Result {
    let policy = std::fs::read_to_string(shell::root().join("deny.toml"))?;
    let policy = Policy::read(&policy)?;
    let mut packages = BTreeMap::new();
    // What only other systems would build is never linked.
    for platform in toolchain::MACHINES {
        let mut metadata = shell::cargo(["metadata", "--format-version=1", "--all-features"]);
        let text = shell::read(metadata.args(["--locked", "--filter-platform", platform]))?;
        packages.extend(used(&serde_json::from_str(&text)?)?);
    }
    let refused: Vec<_> = packages
        .values()
        .flat_map(|package| refuse(package, &policy))
        .collect();
    for duplicate in duplicates(packages.values()) {
        // They come and go with the registry: said, not refused.
        eprintln!("two versions: {duplicate}");
    }
    if refused.is_empty() {
        eprintln!("{} packages, all allowed", packages.len());
        return Ok(());
    }
    Err(format!("deny.toml does not allow {}", refused.join("; ")).into())
}

/// A package of the graph.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    /// An SPDX expression.
    licence: Option<String>,
    /// None for what lies in this repository.
    source: Option<String>,
    /// What it depends on in any version.
    wildcards: Vec<String>,
    /// The names of those that depend on it.
    wrappers: BTreeSet<String>,
}

/// Returns the packages that `metadata` says are built, by their ids.
fn used(metadata: &Value) -> Result<BTreeMap<String, Package>> {
    let list = |value: &Value| {
        value
            .as_array()
            .cloned()
            .ok_or("`cargo metadata` has changed its format")
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let nodes = list(&metadata["resolve"]["nodes"])?;
    let ids: BTreeSet<_> = nodes.iter().filter_map(|node| text(&node["id"])).collect();
    let mut packages = BTreeMap::new();
    for package in list(&metadata["packages"])? {
        let id = text(&package["id"]).ok_or("a package without an id")?;
        if !ids.contains(&id) {
            continue;
        }
        let wildcards = list(&package["dependencies"])?
            .iter()
            .filter(|dependency| dependency["req"] == "*" && dependency["path"].is_null())
            .filter_map(|dependency| text(&dependency["name"]))
            .collect();
        let package = Package {
            name: text(&package["name"]).ok_or("a package without a name")?,
            version: text(&package["version"]).ok_or("a package without a version")?,
            licence: text(&package["license"]),
            source: text(&package["source"]),
            wildcards,
            wrappers: BTreeSet::new(),
        };
        packages.insert(id, package);
    }
    for node in &nodes {
        let wrapper = node["id"].as_str().and_then(|id| packages.get(id));
        let Some(wrapper) = wrapper.map(|package| package.name.clone()) else {
            continue;
        };
        for wrapped in list(&node["dependencies"])? {
            let wrapped = wrapped.as_str().and_then(|id| packages.get_mut(id));
            wrapped
                .ok_or("a dependency that is no package")?
                .wrappers
                .insert(wrapper.clone());
        }
    }
    if packages.is_empty() {
        return Err("`cargo metadata` names no package".into());
    }
    Ok(packages)
}

/// Returns what is wrong with a package.
fn refuse(package: &Package, policy: &Policy) -> Vec<String> {
    let Package { name, version, .. } = package;
    let mut refused = Vec::new();
    match &package.licence {
        None => refused.push(format!("{name} {version}, which names no licence")),
        Some(licence) if !is_allowed(licence, &policy.allowed) => match policy.exceptions.get(name) {
            Some(Exception { licences, wrappers }) if is_allowed(licence, licences) => {
                let others = package.wrappers.difference(wrappers);
                refused.extend(others.map(|other| format!("{name} {version} under `{licence}` in {other}")));
            }
            _ => refused.push(format!("{name} {version} under `{licence}`")),
        },
        Some(_) => {}
    }
    if let Some(source) = package.source.as_deref().filter(|&source| source != REGISTRY) {
        refused.push(format!("{name} {version} from {source}"));
    }
    // What others wrote is theirs; a `*` of ours would take a breaking release.
    if package.source.is_none() {
        let wildcard = |wanted: &String| format!("any version of {wanted}, which {name} asks for");
        refused.extend(package.wildcards.iter().map(wildcard));
    }
    refused
}

/// Returns the crates that are there in more than one version.
fn duplicates<'a>(packages: impl Iterator<Item = &'a Package>) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} {}", versions.into_iter().collect::<Vec<_>>().join(", ")))
        .collect()
}

/// What `deny.toml` says of licences.
struct Policy {
    allowed: BTreeSet<String>,
    /// By the names of the crates.
    exceptions: BTreeMap<String, Exception>,
}

/// A crate that may have other licences than all, as long as only some link it.
struct Exception {
    licences: BTreeSet<String>,
    wrappers: BTreeSet<String>,
}

impl Policy {
    /// Reads the policy. Only the form that the file has is read: one licence a line, one crate a line.
    fn read(text: &str) -> Result<Self> {
        let allowed: BTreeSet<_> = list(text, "[licenses]", "allow = [").filter_map(quoted).collect();
        if allowed.is_empty() {
            return Err("deny.toml has no `[licenses]` with `allow = [` and one licence a line".into());
        }
        let wrappers: BTreeMap<_, _> = list(text, "[bans]", "deny = [")
            .filter_map(|line| crate_and(line, "wrappers"))
            .collect();
        let exceptions = list(text, "[licenses]", "exceptions = [")
            .filter_map(|line| crate_and(line, "allow"))
            .map(|(name, licences)| {
                // Without a list of its wrappers, nobody may link it.
                let wrappers = wrappers.get(&name).cloned().unwrap_or_default();
                (name, Exception { licences, wrappers })
            })
            .collect();
        Ok(Self { allowed, exceptions })
    }
}

/// Returns the lines of a list in a table.
fn list<'a>(text: &'a str, table: &str, opening: &str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().map(str::trim);
    lines
        .skip_while(move |line| *line != table)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .skip_while(move |line| *line != opening)
        .skip(1)
        .take_while(|line| *line != "]")
}

/// Returns what the quotes enclose that a line begins with.
fn quoted(line: &str) -> Option<String> {
    let (text, _) = line.strip_prefix('"')?.split_once('"')?;
    Some(text.to_owned())
}

/// Returns what a line `{ crate = "NAME", KEY = ["…", "…"] }` says.
fn crate_and(line: &str, key: &str) -> Option<(String, BTreeSet<String>)> {
    let (_, name) = line.split_once("crate = ")?;
    let (_, values) = line.split_once(&format!("{key} = ["))?;
    let (values, _) = values.split_once(']')?;
    Some((quoted(name)?, values.split(", ").filter_map(quoted).collect()))
}

/// Tells whether an SPDX expression can be met with licences that are allowed.
///
/// ```text
/// any     = all { ("OR" | "/") all }
/// all     = licence { "AND" licence }
/// licence = "(" any ")" | NAME [ "WITH" NAME ]
/// ```
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // The slash is how it was written before there were expressions.
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut terms = Terms {
        words: spaced.split_whitespace().collect(),
        at: 0,
        allowed,
    };
    terms.any() == Some(true) && terms.at == terms.words.len()
}

struct Terms<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl Terms<'_> {
    fn skip(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.skip("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.licence()?;
        while self.skip("AND") {
            met &= self.licence()?;
        }
        Some(met)
    }

    fn licence(&mut self) -> Option<bool> {
        if self.skip("(") {
            let met = self.any()?;
            return self.skip(")").then_some(met);
        }
        let mut name = self.name()?;
        if self.skip("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        // `MPL-2.0+` is that version or a later one.
        Some(self.allowed.contains(name.strip_suffix('+').unwrap_or(&name)))
    }

    fn name(&mut self) -> Option<String> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        (!["(", ")", "AND", "OR", "WITH"].contains(word)).then(|| (*word).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> BTreeSet<String> {
        [
            "MIT",
            "Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "Unicode-3.0",
        ]
        .map(str::to_owned)
        .into()
    }

    #[test]
    fn an_expression_is_met_by_what_is_allowed_and_by_nothing_else() {
        for met in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0 OR MIT",
            "MIT/GPL-3.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(is_allowed(met, &allowed()), "{met}");
        }
        for unmet in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT OR GPL-3.0 AND",
            "(MIT",
            "MIT)",
            "MIT GPL-3.0",
            "GPL-3.0 AND (MIT OR Apache-2.0)",
            "MIT WITH LLVM-exception",
            "",
        ] {
            assert!(!is_allowed(unmet, &allowed()), "{unmet}");
        }
    }

    #[test]
    fn the_policy_of_this_workspace_is_read() {
        let policy = std::fs::read_to_string(shell::root().join("deny.toml")).expect("deny.toml");
        let policy = Policy::read(&policy).expect("a policy");
        assert!(policy.allowed.contains("MIT") && policy.allowed.contains("Apache-2.0 WITH LLVM-exception"));
        assert!(!policy.allowed.contains("MPL-2.0"));
        for (name, exception) in &policy.exceptions {
            assert!(!exception.wrappers.is_empty(), "{name}");
        }
        assert!(policy.exceptions["imbl"].wrappers.iter().eq(["bench-values"]));
        assert!(Policy::read("[licenses]\nallow = []\n").is_err());
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let metadata = serde_json::json!({
            "packages": [
                { "id": "ours", "name": "ours", "version": "1.0.0", "license": "MIT", "source": null, "dependencies": [
                    { "name": "good", "req": "*", "path": null },
                    { "name": "beside", "req": "*", "path": "/beside" },
                ] },
                { "id": "good", "name": "good", "version": "1.0.0", "license": "MIT", "source": REGISTRY, "dependencies": [] },
                { "id": "older", "name": "good", "version": "0.9.0", "license": "MIT", "source": REGISTRY, "dependencies": [] },
                { "id": "bad", "name": "bad", "version": "2.0.0", "license": null, "source": "git+https://x", "dependencies": [] },
                { "id": "excepted", "name": "excepted", "version": "1.0.0", "license": "MPL-2.0+", "source": REGISTRY, "dependencies": [] },
                { "id": "unused", "name": "unused", "version": "1.0.0", "license": "GPL-3.0", "source": null, "dependencies": [] },
            ],
            "resolve": { "nodes": [
                { "id": "ours", "dependencies": ["good", "excepted"] },
                { "id": "good", "dependencies": ["excepted"] },
                { "id": "older", "dependencies": [] },
                { "id": "bad", "dependencies": [] },
                { "id": "excepted", "dependencies": [] },
            ] },
        });
        let packages = used(&metadata).expect("packages");
        let policy = Policy {
            allowed: allowed(),
            exceptions: [(
                "excepted".to_owned(),
                Exception {
                    licences: ["MPL-2.0".to_owned()].into(),
                    wrappers: ["ours".to_owned()].into(),
                },
            )]
            .into(),
        };
        let refused: Vec<_> = packages
            .values()
            .flat_map(|package| refuse(package, &policy))
            .collect();
        let expected = [
            "bad 2.0.0, which names no licence",
            "bad 2.0.0 from git+https://x",
            "excepted 1.0.0 under `MPL-2.0+` in good",
            "any version of good, which ours asks for",
        ];
        assert_eq!(refused, expected);
        assert_eq!(duplicates(packages.values()), ["good 0.9.0, 1.0.0"]);
    }
}
