//! `drover migrate`: brings the store's tables up to date, lists migrations, or takes the newest one back.
//!
//! Fails with the store's error: a schema that is newer than this binary is refused.

use crate::cli::MigrateArgs;
use crate::store::Store;
use std::io::Write;

/// Runs the command and writes to `out`.
///
/// # Errors
/// What the store says, or `out` cannot be written.
pub async fn run(args: &MigrateArgs, store: &dyn Store, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    if args.status {
        for migration in store.migrations().await? {
            let state = if migration.applied { "applied" } else { "missing" };
            writeln!(out, "{state}  {}", migration.name)?;
        }
        // Says so, too, when the schema is newer.
        store.check_schema().await?;
    } else if args.revert {
        match store.revert_migration().await? {
            Some(name) => writeln!(out, "reverted {name}")?,
            None => writeln!(out, "no migration is applied")?,
        }
    } else {
        let applied = store.migrate().await?;
        for name in &applied {
            writeln!(out, "applied {name}")?;
        }
        if applied.is_empty() {
            writeln!(out, "the schema is up to date")?;
        }
    }
    Ok(())
}
