//! Goal: any bytes for store.json are refused or understood, and what is understood is written as something that is understood alike.
//! Method: see `tine_store::decoders`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tine_store::decoders::parameters(bytes));
