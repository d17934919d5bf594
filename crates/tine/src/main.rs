//! The command `tine`.
fn main() {}
