//! Goal: any bytes for the text of a lease are refused or understood, line by line.
//! Method: see `tine_store::decoders`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tine_store::decoders::lease(bytes));
