//! What the tests share: stores of their own, batches, and a way to cut connections.

pub mod batches;
pub mod proxy;
pub mod stores;
pub mod tree;
