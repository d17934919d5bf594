//! Goal: no power cut loses what `tine` has acknowledged, or shows what nobody wrote.
//!
//! Method: the real binary works in a FUSE file system that forgets what was not synced ([`disk`], [`serve`],
//! [`mount`]). The power is cut at a chosen operation ([`device`]); what was not synced survives, is lost or is torn
//! by chance; the file system is mounted anew and the binary has to show a state that its acknowledgements allow
//! ([`harness`], [`store`]). The page cache survives `kill -9`, so only this proves anything about syncs.
//!
//! Once the binary works as commands ([`store`]), and once as a daemon that others write through ([`served`]); and a program
//! works with the library itself ([`library`]): what no command does, batches, and trees of several levels.
//!
//! That the method catches the bugs it is for is shown by a small log whose syncs can be left out ([`log`]), and by
//! `tine` with a bug of `tine_store::planted`: `cargo xtask test planted` plants those that leave out syncs, `cargo xtask
//! torture` all that a power cut can show.
//!
//! | variable | meaning |
//! |---|---|
//! | `TINE_CUTS` | how many cuts to survive (50; 10 as a daemon, and of the library) |
//! | `TINE_SECONDS` | when to end before that |
//! | `TINE_SEED` | the one seed to run, from a failure's message |
//! | `TINE_PLANTED_BUG` | the bug that has to be caught, by `--features tine-store/planted-bugs` in the binary |

mod aligned;
mod device;
mod disk;
mod filesystem;
mod harness;
mod library;
mod log;
mod model;
mod mount;
mod nbd;
mod random;
mod serve;
mod served;
mod store;
mod torture;
