//! What a crash at a moment may leave on the medium: everything that is tried there, each with a name for messages.

use tine_store::medium::simulated::{Chooser, SimulatedMedium};

/// How many of the things that a crash may leave are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Variety {
    /// Nothing is lost, or everything that was not synced.
    Few,
    /// Also all of it kept, all torn, and all arriving late.
    Usual,
    /// Also each lost or kept on its own.
    Subsets,
}

/// One thing that a crash may leave.
pub(crate) struct Outcome {
    pub(crate) how: String,
    pub(crate) medium: SimulatedMedium,
    /// Whether a second crash should follow, where there are any.
    pub(crate) twice: bool,
}

/// Of more unsynced things than this, the others are lost and kept only together.
const SINGLES_MAX: usize = 12;

/// Returns what a crash may leave, with what was not synced lost, kept or torn.
pub(crate) fn outcomes(moment: &SimulatedMedium, variety: Variety) -> Vec<Outcome> {
    let process = moment.fork();
    process.crash_process(false);
    let mut found = vec![outcome("the process dies", process, true)];
    if !moment.anything_volatile() {
        return found;
    }
    let cut = |prefix: Vec<usize>, rest: usize| {
        let medium = moment.fork();
        medium.set_chooser(Chooser::fixed(prefix, rest));
        medium.cut_power();
        medium
    };
    for (rest, how) in [
        (0, "unsynced is lost"),
        (1, "unsynced is kept"),
        (2, "unsynced is torn"),
    ] {
        let all = cut(Vec::new(), rest);
        let questions = all.chooser().sizes().len();
        found.push(outcome(how, all, rest < 2));
        if variety == Variety::Few {
            return found;
        }
        if variety == Variety::Usual || questions < 2 {
            continue;
        }
        for one in 0..questions.min(SINGLES_MAX) {
            let mut prefix = vec![rest; one];
            prefix.push(1 - rest.min(1));
            found.push(outcome(
                format!("{how} but number {one}"),
                cut(prefix, rest),
                false,
            ));
        }
    }
    if let Some(delayed) = delayed(moment) {
        found.push(outcome(
            "the process dies, unsynced pages arrive late",
            delayed,
            true,
        ));
    }
    found
}

fn outcome(how: impl Into<String>, medium: SimulatedMedium, twice: bool) -> Outcome {
    let how = how.into();
    Outcome { how, medium, twice }
}

fn delayed(moment: &SimulatedMedium) -> Option<SimulatedMedium> {
    let medium = moment.fork();
    medium.set_chooser(Chooser::fixed(Vec::new(), 1));
    medium.crash_process(true);
    (!medium.chooser().taken().is_empty()).then_some(medium)
}
