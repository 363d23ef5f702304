//! Any bytes keep the properties of `wire::probe::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::wire::probe::frame(data));
