//! Small pieces of text that several commands print.

use std::fmt::Write as _;

use tine_server::api::Time;

/// Writes a time for people: `2026-11-21 11:51:36`, in UTC.
pub(crate) fn when(time: Time) -> String {
    time.to_string().replace('T', " ").replace('Z', "")
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
    fn columns_line_up() {
        let rows = [
            ["NAME".to_owned(), "SIZE".to_owned()],
            ["a".to_owned(), "10.0 GiB".to_owned()],
        ];
        assert_eq!(columns(&rows, &[1]), ["NAME      SIZE", "a     10.0 GiB"]);
    }
}
