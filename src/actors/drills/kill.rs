//! The order to abort a child as if it had failed: what a drill does to it. The restart policy decides what follows.

use actix::prelude::*;

use crate::actors::exit::Exit;
use crate::actors::lifecycle::End;
use crate::actors::supervisor::{SupervisorActor, SupervisorError};
use crate::domain::status::ExitReason;

/// Aborts a child's task, wherever it is, and lets the supervisor take it for a failure. Answered when the order is taken:
/// `false` when the child does not live now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<bool, SupervisorError>")]
pub struct KillChild {
    /// The child's id.
    pub id: String,
}

impl Handler<KillChild> for SupervisorActor {
    type Result = Result<bool, SupervisorError>;

    fn handle(&mut self, KillChild { id }: KillChild, _: &mut Self::Context) -> Self::Result {
        let child = self.child(&id).ok_or(SupervisorError::UnknownChild { id })?;
        let Some(link) = &child.link else { return Ok(false) };
        // A lifecycle order ignores the mailbox bound: at most a few per generation are ever sent.
        link.end.do_send(End { exit: Exit::new(ExitReason::Error, "a drill aborted its task") });
        Ok(true)
    }
}
