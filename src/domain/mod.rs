//! What drover decides: pure and synchronous, without a clock, a network or an actor.

pub mod audit;
pub mod backoff;
pub mod batch;
pub mod bench;
pub mod command;
pub mod decode;
pub mod drill;
pub mod event;
pub mod failure;
pub mod generator;
pub mod group;
pub mod hold;
pub mod offset_plan;
pub mod offsets;
pub mod rebalance;
pub mod record;
pub mod restart;
pub mod rfc3339;
pub mod status;
pub mod storm;
pub mod watchdog;
