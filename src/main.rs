//! The binary: parse, telemetry, run, print the error chain, exit code.
//!
//! Exit codes: 0 done; 1 it failed, or something was left; and of sysexits.h 64 the command line or the configuration is wrong
//! (EX_USAGE), 69 no drover answers (EX_UNAVAILABLE), 75 another process has this place in the group (EX_TEMPFAIL), 77 the
//! token is missing or wrong (EX_NOPERM).

use clap::Parser as _;
use drover::cli::Cli;
use drover::commands;
use std::io::Write as _;

/// Areas from which glibc's allocator serves threads. It would make up to eight for each core, and what one thread frees in its own
/// is of no use to the others: librdkafka has some twenty threads, and batches wander between them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;
/// Bytes from which a block is the system's own and goes back when it is freed. Set, because otherwise the first large block that is
/// freed raises it to that block's size, and batches then tear the heap into holes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_BLOCK_BYTES: i32 = 1 << 20;

/// Makes the allocator give back what large buffers took. Before any thread is there.
fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both are settings of the allocator, given before another thread uses it.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_BLOCK_BYTES);
    }
}

fn main() {
    tune_allocator();
    end(match Cli::try_parse() {
        Ok(cli) => match commands::run(cli) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(error) => {
                eprintln!("drover: {error:#}");
                commands::exit_code(&error)
            }
        },
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            // Nobody may read it any more; the code says the same.
            let _ = error.print();
            code
        }
    })
}

/// Ends the process at once. What had to end has ended; other threads still run, such as those of a client whose broker is
/// away, and must not meet what leaving `main` takes apart: a line that they log then would be a panic, and another exit code.
fn end(code: u8) -> ! {
    // Where nobody reads it, the code still says how it ended.
    let _ = std::io::stdout().flush();
    // SAFETY: it takes a number and does not return; nothing of this process runs any more.
    unsafe { libc::_exit(code.into()) }
}
