//! Restart intensity.
