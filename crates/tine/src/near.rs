//! "Did you mean …": the names that look like a mistyped one.

/// Returns up to three of `names` that are near to `wanted`, the nearest first.
pub(crate) fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // One slip in three letters, rounded: more is another word.
    let slips = (wanted.chars().count() + 1) / 3;
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= slips || (wanted.len() >= 3 && name.starts_with(wanted)))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["trial", "golden", "web1", "web2"];
        assert_eq!(near("tria", names), ["trial"]);
        assert_eq!(near("Goldne", names), ["golden"]);
        assert_eq!(near("web3", names), ["web1", "web2"]);
        assert!(near("database", names).is_empty());
        assert!(near("b", ["a"]).is_empty());
    }
}
