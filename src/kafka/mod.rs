//! Kafka: the only part of drover that names librdkafka. What it hands out are types of its own and of `domain`.

pub mod client;
pub mod embedded;
pub mod error;
pub mod faulty;
mod fetched;
pub mod gap_check;
pub mod group_client;
pub mod group_consumer;
pub mod lookup;
pub mod native;
pub mod offsets;
pub mod producer;
pub mod rebalance;
mod revive;
#[cfg(test)]
pub(crate) mod test_support;
pub mod topic_info;
pub mod topics;
pub mod visitor;
