//! The commands, one file each. All printing to standard output happens here.

pub mod config;
pub mod produce;
pub mod topics;
