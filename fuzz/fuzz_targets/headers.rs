//! See the property.
#![no_main]

#[path = "../properties/headers.rs"]
mod headers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| headers::check(data));
