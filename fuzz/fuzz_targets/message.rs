//! Any bytes as a message of a feed: see `telltale::sources::streams::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telltale::sources::streams::fuzz::message(data));
