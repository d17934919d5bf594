//! tine's xtask.
fn main() {}
