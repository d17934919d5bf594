//! Goal: any bytes on the control socket are understood as frames of a disk, or found to be none, however they are cut; what is
//! understood is written as it was read.
//! Method: see `tine_server::decoders`. The first byte tells how long the chunks are.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((chunk, bytes)) = bytes.split_first() {
        tine_server::decoders::frames(bytes, usize::from(*chunk));
    }
});
