//! Goal: any bytes for a run are refused or understood, and what is understood is written as it was read.
//! Method: see `tine_store::decoders`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tine_store::decoders::node(bytes));
