//! The supervision tree and the actors in it.
//!
//! ```text
//! process (app.rs: watches the verdict, exits non-zero)
//! └── SupervisorActor          one_for_one, in order: the kinds below start and stop as app.rs and shutdown.rs say
//!     ├── consumer-1 … N       TaskActor + one tokio task each; stop first
//!     ├── writer-1 … M         TaskActor + one tokio task each; the queue belongs to the pool and outlives them
//!     ├── dead-letter          TaskActor + one tokio task
//!     ├── audit                TaskActor + one tokio task; there when `audit.interval` is not 0
//!     ├── metrics              TaskActor + one tokio task
//!     └── replica              TaskActor + one tokio task; stops last
//! ```
//!
//! All actors live on the System thread, where they only route and decide; the System stands on a multi-thread tokio
//! runtime (`actix::System::with_tokio_rt`), which runs the tasks. One generation of a child is a fresh actor and a
//! fresh task: nothing of the old one is used again, and what an old one still says is ignored by its number.
//!
//! | message | from | to | bounded by |
//! | --- | --- | --- | --- |
//! | [`StartChild`](supervisor::StartChild) | app.rs, its operator | supervisor | one per child |
//! | [`RestartChild`](supervisor::RestartChild), [`RemoveChild`](supervisor::RemoveChild), [`StopChild`](supervisor::StopChild) | app.rs's operator | supervisor | requests, awaited (mailbox) |
//! | [`GetStatus`](supervisor::GetStatus), [`GetExits`](supervisor::GetExits) | app.rs's operator | supervisor | requests, awaited (mailbox) |
//! | [`ShutDown`](shutdown::ShutDown) | app.rs | supervisor | one per signal |
//! | `ChildStateChanged` | a child's actor | supervisor | only the newest state of a task is kept |
//! | `ChildExited` | a child's guard | supervisor | one per generation |
//! | [`Drain`](lifecycle::Drain), [`End`](lifecycle::End) | supervisor | a child's actor | one per order or deadline |
//! | drain, by `watch` | a child's actor | its task | only the newest deadline is kept |
//! | children, verdict, by `watch` | supervisor | HTTP, metrics, app.rs | only the newest is kept |
//!
//! Records never pass through an actor's mailbox: tasks hand them on through bounded channels. Nobody keeps a child's
//! address across a restart; only the supervisor holds it, for one generation.

pub mod audit;
pub mod breaker;
pub mod child;
pub mod consumer;
pub mod db_writer;
pub mod dead_letter;
pub mod drills;
pub mod exit;
pub mod holds;
pub mod leases;
pub mod lifecycle;
pub mod memory;
pub mod metrics;
pub mod panics;
pub mod replica;
pub mod shutdown;
pub mod spares;
pub mod supervisor;
mod transitions;
pub mod writer_pool;

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod supervisor_tests;
#[cfg(test)]
mod test_tasks;
