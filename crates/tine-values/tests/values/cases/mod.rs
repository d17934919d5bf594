//! How many cases a state machine is tried with.

use proptest::test_runner::Config;

/// Returns the configuration for so many cases, unless PROPTEST_CASES asks for fewer, as under valgrind, or for more.
pub(crate) fn cases(cases: u32) -> Config {
    let default = Config::default();
    Config {
        cases: if default.cases == 256 {
            cases
        } else {
            default.cases
        },
        failure_persistence: None,
        ..default
    }
}
