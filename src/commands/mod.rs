//! The commands, one file each. All printing to standard output happens here.

pub mod audit;
pub mod config;
pub mod dead_letters;
pub mod migrate;
pub mod table;
