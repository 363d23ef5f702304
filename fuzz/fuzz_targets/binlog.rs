//! Any bytes keep the properties of `wire::probe::binlog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::wire::probe::binlog(data));
