//! Who is one client: by the process, as the kernel tells of it.

use std::fs;

use tine_nbd::Peer;

/// Who counts as one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Process {
        pid: u32,
        /// In the kernel's ticks since the machine was. Nothing of one that had ended when it was looked at.
        started: Option<u64>,
    },
    /// By the number of its entry.
    Connection(u64),
}

impl Who {
    /// Returns who is at the other end of a connection with this number.
    pub(super) fn of(peer: &Peer, entry: u64) -> Self {
        match *peer {
            Peer::Process { pid, .. } if pid != 0 => Self::Process {
                pid,
                started: Stat::of(pid).map(|stat| stat.started),
            },
            // By TCP, or from a namespace that cannot be seen from here.
            _ => Self::Connection(entry),
        }
    }

    /// Tells whether this is a process that is no more: nothing but what it had in flight is left of its connections.
    pub(super) fn has_ended(&self) -> bool {
        match *self {
            Self::Process { pid, started } => {
                Stat::of(pid).is_none_or(|now| now.is_dead || Some(now.started) != started)
            }
            Self::Connection(_) => false,
        }
    }
}

/// What the kernel tells of a process, see proc_pid_stat(5).
struct Stat {
    started: u64,
    /// It has ended, and closed its files.
    is_dead: bool,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The second field is the name, which may contain anything; the third and the 22nd are those wanted.
        let (_, behind_name) = line.rsplit_once(") ")?;
        let mut fields = behind_name.split(' ');
        Some(Self {
            is_dead: fields.next()?.starts_with(['Z', 'X']),
            started: fields.nth(18)?.parse().ok()?,
        })
    }
}

/// Returns what a process is called.
pub(super) fn command_of(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name: String = name.trim_end().chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_got_the_number_of_another_is_another() {
        let stat = |started| {
            let line = format!("7 (a) b) R 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 0 0");
            Stat::parse(&line).expect("what the kernel tells")
        };
        assert_eq!((stat(4711).started, stat(4711).is_dead), (4711, false));
        let this = Peer::Process {
            pid: std::process::id(),
            uid: 0,
            gid: 0,
        };
        let this = Who::of(&this, 1);
        assert!(!this.has_ended());
        let Who::Process { pid, started } = this else {
            panic!("{this:?}")
        };
        let former = Who::Process {
            pid,
            started: started.map(|started| started - 1),
        };
        assert!(former != this && former.has_ended());
    }
}
