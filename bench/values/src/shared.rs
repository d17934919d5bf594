//! [`Shared`] beside the counted pointers of std and triomphe.

use std::sync::Arc;

use tine_values::Shared;

use crate::contest::{Contest, Row};

pub(crate) const ROWS: &[Row] = &[
    Row::timed("shared-clone", "clone, drop", &[1], clone),
    Row::timed(
        "shared-clone-threads",
        "two threads clone and drop one value",
        &[1],
        clone_in_threads,
    ),
    Row::timed("shared-make-mut", "make_mut by a sole owner", &[1], make_mut),
    Row::weighed("shared-bytes", "bytes of a shared u64", &[1], bytes),
];

fn clone(contest: &mut Contest, _: usize) {
    let (arc, triomphe, ours) = (Arc::new(1_u64), triomphe::Arc::new(1_u64), Shared::new(1_u64));
    contest.repeat("Arc", 1, move || arc.clone());
    contest.repeat("triomphe", 1, move || triomphe.clone());
    contest.repeat("tine", 1, move || ours.clone());
    contest.at_most(1.1, "triomphe");
}

fn clone_in_threads(contest: &mut Contest, _: usize) {
    let (arc, triomphe, ours) = (Arc::new(1_u64), triomphe::Arc::new(1_u64), Shared::new(1_u64));
    contest.in_threads("Arc", 2, move || arc.clone());
    contest.in_threads("triomphe", 2, move || triomphe.clone());
    contest.in_threads("tine", 2, move || ours.clone());
    contest.at_most(1.2, "triomphe");
}

fn make_mut(contest: &mut Contest, _: usize) {
    let (mut arc, mut triomphe, mut ours) = (Arc::new(1_u64), triomphe::Arc::new(1_u64), Shared::new(1_u64));
    contest.repeat("Arc", 1, move || {
        *Arc::make_mut(&mut arc) += 1;
    });
    contest.repeat("triomphe", 1, move || {
        *triomphe::Arc::make_mut(&mut triomphe) += 1;
    });
    contest.repeat("tine", 1, move || {
        *ours.make_mut() += 1;
    });
    contest.at_most(1.1, "triomphe");
}

fn bytes(contest: &mut Contest, _: usize) {
    contest.bytes("Arc", 1, || (), |()| Arc::new(1_u64));
    contest.bytes("triomphe", 1, || (), |()| triomphe::Arc::new(1_u64));
    contest.bytes("tine", 1, || (), |()| Shared::new(1_u64));
    contest.at_most(1.0, "triomphe");
}
