//! Small pieces of text that several commands print.

use std::fmt::Write as _;
use std::time::SystemTime;

/// Writes a time as RFC 3339 in UTC, to the second: for JSON, and sortable.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    // The formatter refuses what lies outside the years 1970 to 9999; a clock that is wrong is no reason to fail.
    let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

/// Writes a time for people: `2026-11-21 11:51:36`, in UTC.
pub(crate) fn when(time: SystemTime) -> String {
    rfc3339(time).replace('T', " ").replace('Z', "")
}

/// Writes a number with its noun: `1 range`, `3 ranges`.
pub(crate) fn count(number: u64, noun: &str) -> String {
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
pub(crate) fn list<T: std::fmt::Display>(names: &[T]) -> String {
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

/// Lines up the columns of a table: text to the left, numbers (named by their column) to the right.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], right: &[usize]) -> Vec<String> {
    let mut width = [0; N];
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            width[column] = width[column].max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let wide = width[column];
            let _ = if right.contains(&column) {
                write!(line, "{gap}{cell:>wide$}")
            } else {
                write!(line, "{gap}{cell:<wide$}")
            };
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn columns_line_up() {
        let rows = [
            ["NAME".to_owned(), "SIZE".to_owned()],
            ["a".to_owned(), "10.0 GiB".to_owned()],
        ];
        assert_eq!(columns(&rows, &[1]), ["NAME      SIZE", "a     10.0 GiB"]);
    }

    #[test]
    fn times_outside_the_calendar_do_not_panic() {
        assert_eq!(
            rfc3339(SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1)),
            "1970-01-01T00:00:00Z"
        );
    }
}
