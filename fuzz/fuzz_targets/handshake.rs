//! Any bytes keep the properties of `wire::probe::handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::wire::probe::handshake(data));
