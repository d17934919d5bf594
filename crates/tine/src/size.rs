//! Sizes as people write them.

/// Reads a number of bytes: `4096`, `1_000`, `4k`, `10GiB`, `1.5G`, `2MB`.
///
/// One letter and `KiB` are powers of 1024, as disks are made; `kB` is a power of 1000.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("it cannot be less than 0".to_owned());
    }
    let number_ends = text
        .find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let unit = unit_bytes(unit.trim()).ok_or_else(|| format!("`{}` is no unit", unit.trim()))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (whole, fraction) = (whole.replace('_', ""), fraction.replace('_', ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err("it has no number".to_owned());
    }
    let too_large = || "it is more than 2^64 bytes".to_owned();
    let bytes = whole
        .parse::<u64>()
        .ok()
        .and_then(|whole| whole.checked_mul(unit))
        .ok_or_else(too_large)?;
    if fraction.len() > 18 {
        return Err("it has too many digits after the point".to_owned());
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let part = fraction.parse::<u128>().unwrap_or(0) * u128::from(unit);
    if !part.is_multiple_of(scale) {
        return Err("it is no whole number of bytes".to_owned());
    }
    u64::try_from(part / scale)
        .ok()
        .and_then(|part| bytes.checked_add(part))
        .ok_or_else(too_large)
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (letter, base) = match unit.as_str() {
        "" | "b" => return Some(1),
        long if long.len() == 3 && long.ends_with("ib") => (long, 1024_u64),
        decimal if decimal.len() == 2 && decimal.ends_with('b') => (decimal, 1000),
        letter if letter.len() == 1 => (letter, 1024),
        _ => return None,
    };
    let power = "kmgtpe".find(&letter[..1])? + 1;
    base.checked_pow(u32::try_from(power).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1_000", 1000),
            ("4k", 4096),
            ("4K", 4096),
            ("4kB", 4000),
            ("4 KiB", 4096),
            ("10GiB", 10 << 30),
            ("10g", 10 << 30),
            ("1.5G", 3 << 29),
            ("2MB", 2_000_000),
            ("1P", 1 << 50),
            ("8E", 8 << 60),
            ("4 EiB", 4 << 60),
            ("1EB", 1_000_000_000_000_000_000),
            ("0.5k", 512),
            (" 1k ", 1024),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "k",
            "GiB",
            "-1",
            "1.2.3",
            "1.",
            "4x",
            "4kk",
            "ten",
            "0.0001k",
            "99999999999999999999",
            "20000P",
            "16E",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
