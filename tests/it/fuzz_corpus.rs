//! What fuzzing found worth keeping (fuzz/corpus), through the same properties, without a nightly compiler.

use crate::support::tree::root;

#[path = "../../fuzz/properties/configuration.rs"]
mod configuration;
#[path = "../../fuzz/properties/decode.rs"]
mod decode;
#[path = "../../fuzz/properties/headers.rs"]
mod headers;

/// Runs a property on each kept input; the name of the last one is printed when it fails.
fn over_corpus(target: &str, check: impl Fn(&[u8])) {
    let directory = root().join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 3, "{} holds {inputs} inputs", directory.display());
}

#[test]
fn decoding_holds_its_property_on_everything_that_fuzzing_kept() {
    over_corpus("decode", decode::check);
}

#[test]
fn the_configuration_holds_its_property_on_everything_that_fuzzing_kept() {
    over_corpus("configuration", configuration::check);
}

#[test]
fn headers_hold_their_property_on_everything_that_fuzzing_kept() {
    over_corpus("headers", headers::check);
}
