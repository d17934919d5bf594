//! Goal: any bytes are understood as requests, or found to be garbage; none makes the parser panic, or believe in a payload beyond
//! the bound.
//! Method: see `tine_nbd::decoders`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tine_nbd::decoders::request(bytes));
