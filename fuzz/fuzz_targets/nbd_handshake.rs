//! Goal: any bytes of a client lead to whole replies, however they are cut; none makes the handshake panic or loop, and an
//! export is opened only at its end.
//! Method: see `tine_nbd::decoders`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tine_nbd::decoders::handshake(bytes));
