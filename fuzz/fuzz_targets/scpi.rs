//! Any bytes, as if they came from a wire: see `telltale::sources::serial::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telltale::sources::serial::fuzz::scpi(data));
