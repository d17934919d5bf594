//! tine's bench.
fn main() {}
