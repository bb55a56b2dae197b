//! What the tests share: servers, the binary, events, and a way to look into the database and to cut connections.

pub mod batches;
pub mod database;
pub mod drover;
pub mod embedded;
pub mod events;
pub mod instance;
pub mod proxy;
pub mod raw_headers;
pub mod scene;
pub mod server;
pub mod servers;
pub mod sse;
pub mod stores;
pub mod topics;
pub mod tree;
pub mod wait;
