//! The journal: one totally ordered log for the whole store.
//!
//! [`record`] and [`frame`] are its format, [`ring`] places and writes frames, [`commit`] gathers what arrives
//! together into one frame and one sync, [`turn`] wakes who waited for it, [`walk`] reads it back and tells the end from damage.

pub(crate) mod commit;
pub(crate) mod frame;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod turn;
pub(crate) mod walk;
