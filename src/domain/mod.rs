//! What drover decides: pure and synchronous, without a clock, a network or an actor.

pub mod audit;
pub mod backoff;
pub mod batch;
pub mod bench;
pub mod command;
pub mod decode;
pub mod drill;
pub mod end_times;
pub mod event;
pub mod failure;
pub mod generator;
pub mod group;
pub mod history;
pub mod hold;
pub mod limiting;
pub mod mask;
pub mod offset_plan;
pub mod offsets;
pub mod rebalance;
pub mod record;
pub mod restart;
pub mod sample;
pub mod status;
pub mod storm;
pub mod watchdog;
