//! Exponential backoff.
