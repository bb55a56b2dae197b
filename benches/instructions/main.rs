//! The program whose instructions scripts/instructions counts: fills as many batches as its argument says, each with 5,400
//! records of 240 bytes from 6 partitions, as in docs/BENCHMARKS.md, and prints how many records each has.
//!
//! What it does beside that is the same for every argument, so that the difference of two runs is what the records cost.

// Under the name that the load knows it by.
extern crate self as drover;

#[path = "../../src/domain/mod.rs"]
#[allow(dead_code, reason = "the load needs a part of it")]
pub mod domain;
#[path = "../hot_path/load.rs"]
mod load;
#[path = "../hot_path/records.rs"]
mod records;
/// What of the stores is pure.
#[path = "../../src/store"]
pub mod store {
    #[allow(dead_code, reason = "the load needs a part of it")]
    pub mod row;
    pub mod row_maker;
}

use domain::batch::Batch;
use load::Load;

const PARTITIONS: i32 = 6;
/// Records of a partition in a batch: what makes the 2 MiB after which a batch is full.
const RECORDS: usize = 900;
const EVENT_BYTES: usize = 240;
/// More than a batch has, so that it keeps its buffers.
const KEEP_BYTES: usize = 4 * 1024 * 1024;

fn main() {
    let batches: usize = std::env::args()
        .nth(1)
        .and_then(|argument| argument.parse().ok())
        .expect("usage: instructions BATCHES (run it with scripts/instructions)");
    let mut load = Load::new((0..PARTITIONS).map(|partition| records::generated(partition, EVENT_BYTES, RECORDS)));
    let mut batch = Batch::new("consumer-1");
    for _ in 0..batches {
        batch.clear(KEEP_BYTES);
        load.fill(&mut batch);
        assert_eq!(batch.len(), load.len(), "every record is a row");
    }
    println!("{}", load.len());
}
