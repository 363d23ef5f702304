//! Any bytes keep the properties of `sql::probe::classify`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::sql::probe::classify(data));
