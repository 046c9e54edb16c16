//! Any JSON as the description of a scan: see `telltale::runner::plan::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telltale::runner::plan::fuzz::plan(data));
