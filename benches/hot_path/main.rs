//! What a record costs on its way into a batch, step by step: `cargo bench --bench hot_path`, with a name to run only what holds it.
//!
//! Times drift with the machine: compare within one run. What must not grow has a budget of instructions (scripts/instructions).

mod batch;
mod decode;
mod encode;
mod load;
mod offsets;
mod records;

fn main() {
    divan::main();
}
