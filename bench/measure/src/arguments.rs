//! The command line that all suites have, and which rows it asks for.

use crate::{Format, Result};

/// What a suite can be told.
#[derive(clap::Args)]
pub struct SuiteArgs {
    /// The rows to run: their names, or what these begin with [default: all]
    pub rows: Vec<String>,
    /// Runs every row in its smallest form, to see that it works; measures nothing
    #[arg(long, conflicts_with = "scale")]
    pub smoke: bool,
    /// How large: `full` is what the goals speak of, `small` takes minutes
    #[arg(long, value_enum, default_value_t = ScaleName::Full)]
    pub scale: ScaleName,
    /// How many rounds each contestant has [default: as the scale says]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Prints one object a line instead of tables
    #[arg(long)]
    pub json: bool,
}

/// The scales that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ScaleName {
    /// Minutes in all.
    Small,
    /// What the goals speak of.
    Full,
}

impl SuiteArgs {
    /// Returns how results are to be printed.
    pub fn format(&self) -> Format {
        if self.json {
            Format::JsonLines
        } else {
            Format::Table
        }
    }

    /// Returns which of the rows with these names are wanted, in their order: all, if none is asked for. A whole name
    /// is that row alone, not those that begin with it.
    ///
    /// # Errors
    ///
    /// When there is none of a name.
    pub fn choose(&self, names: &[&'static str]) -> Result<Vec<&'static str>> {
        let wants = |wanted: &str, name: &str| {
            name == wanted || (name.starts_with(wanted) && !names.contains(&wanted))
        };
        for wanted in &self.rows {
            if !names.iter().any(|name| wants(wanted, name)) {
                let known = names.join(", ");
                return Err(format!("there is no row `{wanted}`; there are: {known}").into());
            }
        }
        let is_wanted =
            |name: &&&str| self.rows.is_empty() || self.rows.iter().any(|wanted| wants(wanted, name));
        Ok(names.iter().filter(is_wanted).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(rows: &[&str]) -> Result<Vec<&'static str>> {
        let args = SuiteArgs {
            rows: rows.iter().map(|&row| row.to_owned()).collect(),
            smoke: false,
            scale: ScaleName::Full,
            rounds: None,
            json: false,
        };
        args.choose(&["fork", "fork-many", "read"])
    }

    #[test]
    fn rows_are_chosen_by_name_or_by_what_it_begins_with() {
        assert_eq!(choose(&[]).unwrap(), ["fork", "fork-many", "read"]);
        assert_eq!(choose(&["fork"]).unwrap(), ["fork"]);
        assert_eq!(choose(&["read", "for"]).unwrap(), ["fork", "fork-many", "read"]);
        assert!(choose(&["write"]).unwrap_err().to_string().contains("fork-many"));
    }
}
