//! An order to change positions: refused while the group works, shown, confirmed, done, and written down.

use super::view::Viewer;
use crate::cli::ChangeFlags;
use crate::commands::actor::actor;
use crate::commands::table::{print_table, printable};
use crate::store::audit_log::AuditEntry;
use crate::store::offsets::OffsetChange;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write};

/// An order and what is to be told of it.
pub struct Order {
    /// The name in the audit log, such as `offsets.rewind`.
    pub action: &'static str,
    /// To what.
    pub target: String,
    /// What would be done, in columns.
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// What it means, a sentence a line.
    pub notes: Vec<String>,
    /// The same for programs, also for the audit log.
    pub detail: Value,
    /// Groups that may have no members while it is done.
    pub groups: Vec<String>,
    pub change: OffsetChange,
}

impl Order {
    /// Shows it, asks where that is wanted, and does it; gives back whether it was done.
    pub async fn carry_out(
        self,
        viewer: &Viewer,
        flags: &ChangeFlags,
        out: &mut (dyn Write + Send),
    ) -> anyhow::Result<bool> {
        if !flags.json {
            print_table(&self.header, self.rows.clone(), out)?;
            for note in &self.notes {
                writeln!(out, "{note}")?;
            }
        }
        let done = if flags.dry_run { false } else { self.confirmed(flags, out).await? };
        if done {
            // Somebody may have started while the question waited for its answer.
            for group in &self.groups {
                refuse_members(viewer, group).await?;
            }
            let entry = AuditEntry {
                actor: actor(),
                action: self.action.to_owned(),
                target: self.target.clone(),
                outcome: "ok".to_owned(),
                detail: Some(self.detail.clone()),
            };
            if let Err(error) = viewer.store.change_offsets(&self.change, &entry).await {
                let failed = AuditEntry { outcome: format!("failed: {error}"), ..entry };
                if let Err(unwritten) = viewer.store.append_audit(&failed).await {
                    tracing::warn!(
                        error = %unwritten, actor = %failed.actor, action = %failed.action, target = %failed.target,
                        outcome = %failed.outcome, "the failure was not written into the audit log"
                    );
                }
                return Err(error.into());
            }
        }
        if flags.json {
            let whole = json!({ "action": self.action, "target": self.target, "done": done, "detail": self.detail });
            serde_json::to_writer_pretty(&mut *out, &whole)?;
            writeln!(out)?;
        } else if done {
            writeln!(out, "done: {} {}", self.action, printable(&self.target))?;
        } else {
            writeln!(out, "nothing was changed")?;
        }
        Ok(done || flags.dry_run)
    }

    async fn confirmed(&self, flags: &ChangeFlags, out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
        if flags.yes {
            return Ok(true);
        }
        if flags.json || !std::io::stdin().is_terminal() {
            anyhow::bail!("nobody can be asked here; give --yes to do it, or --dry-run to see what it would do");
        }
        write!(out, "Do it? Type yes: ")?;
        out.flush()?;
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        Ok(answer.await??.trim() == "yes")
    }
}

/// Fails while the group has members, and names them.
pub async fn refuse_members(viewer: &Viewer, group: &str) -> anyhow::Result<()> {
    let members = viewer.members(group).await?;
    if members.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = members
        .iter()
        .map(|member| {
            let id = member.instance_id.as_deref().map(|id| format!(", static id {id}")).unwrap_or_default();
            printable(&format!("{}{id} at {}", member.client_id, member.host))
        })
        .collect();
    anyhow::bail!(
        "group {group:?} has {} members: {}. Stop every drover process of the group first; a member that was killed, or \
         that stopped with a static id and without --leave, is one until kafka.session_timeout is over",
        members.len(),
        named.join("; ")
    )
}
