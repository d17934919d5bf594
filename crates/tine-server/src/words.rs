//! Words for people: sizes, counts, lists of names, and the names near to a mistyped one.

use std::fmt::{Display, Write as _};

/// Writes a number of bytes for people: `0 B`, `512 B`, `4.0 KiB`, `10.0 GiB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, rounded; `1023.95 KiB` becomes `1.0 MiB`, not `1024.0 KiB`.
    let mut unit = 0;
    let mut size = 1024_u128;
    let tenths = |size: u128| (u128::from(bytes) * 10 + size / 2) / size;
    while tenths(size) >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
        size *= 1024;
    }
    let tenths = tenths(size);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Writes a number with its noun: `1 range`, `3 ranges`.
pub fn count(number: u64, noun: &str) -> String {
    format!(
        "{number} {noun}{}",
        if number == 1 {
            ""
        } else if noun.ends_with("ch") {
            "es"
        } else {
            "s"
        }
    )
}

/// Writes names as a list: `` `a`, `b` and 3 more ``.
pub fn list<T: Display>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    // Never "and 1 more": that takes as much room as the name.
    let shown = if names.len() > SHOWN + 1 {
        SHOWN
    } else {
        names.len()
    };
    for (place, name) in names[..shown].iter().enumerate() {
        let separator = match place {
            0 => "",
            _ if place + 1 == names.len() => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{separator}`{name}`");
    }
    if shown < names.len() {
        let _ = write!(text, " and {} more", names.len() - shown);
    }
    text
}

/// Returns up to three of `names` that are near to `wanted`, the nearest first.
pub fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
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
    use super::*;

    #[test]
    fn sizes_are_written_with_one_digit_after_the_point() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn lists_end_before_they_bore() {
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b"]), "`a` and `b`");
        assert_eq!(
            list(&["a", "b", "c", "d", "e", "f"]),
            "`a`, `b`, `c`, `d`, `e` and `f`"
        );
        assert_eq!(
            list(&["a", "b", "c", "d", "e", "f", "g"]),
            "`a`, `b`, `c`, `d`, `e` and 2 more"
        );
    }

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
