//! Panics of children: message and place, kept until the child's end is reported.
//!
//! A panic hook sees the place, the payload alone does not tell it. The hook writes into the slot of the child whose
//! future is being polled or dropped on this thread; panics outside any child go to the log. One slot per child.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::future::Future;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, Once, PoisonError};

use super::exit::Exit;
use crate::domain::status::ExitReason;

#[cfg(panic = "abort")]
compile_error!("drover cannot be built with panic = \"abort\": the first panic of any child would end the process");

tokio::task_local! {
    /// The slot of the child whose future runs on this thread now.
    static SLOT: PanicSlot;
}

/// Where the hook leaves the place of the last panic of one child. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PanicSlot(Arc<Mutex<Option<String>>>);

impl PanicSlot {
    /// Runs a future so that panics in its polls and in its drop are written down here.
    pub fn watch<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        SLOT.scope(self.clone(), future)
    }

    /// The exit that a caught panic stands for.
    #[must_use]
    pub fn exit(&self, payload: &(dyn Any + Send)) -> Exit {
        Exit {
            reason: ExitReason::Panicked,
            message: payload_text(payload),
            location: self.0.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

/// The text of a panic payload.
#[must_use]
pub fn payload_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// Installs the hook, once per process. The hook that was there before is still called for panics outside children as
/// long as nobody has set up logging.
pub fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if SLOT.try_with(|slot| note(slot, info)).is_ok() {
                return;
            }
            if tracing::dispatcher::has_been_set() {
                tracing::error!(
                    message_text = payload_text_of(info),
                    location = place(info),
                    thread = std::thread::current().name().unwrap_or("unnamed"),
                    "panic outside of a child"
                );
            } else {
                previous(info);
            }
        }));
    });
}

/// Writes the place down. The supervisor logs the panic as the cause of the child's end; only the backtrace, which it
/// does not see, is logged here (with `RUST_BACKTRACE=1`).
fn note(slot: &PanicSlot, info: &PanicHookInfo<'_>) {
    *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place(info));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(location = place(info), %backtrace, "backtrace of a child's panic");
    }
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()))
}

fn payload_text_of(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("a panic without a text").to_owned()
}
