//! The binary: parse, telemetry, run, print the error chain, exit code.
//!
//! Exit codes: 0 done; 1 it failed, or something was left; and of sysexits.h 64 the command line or the configuration is wrong
//! (EX_USAGE), 69 no drover answers (EX_UNAVAILABLE), 75 another process has this place in the group (EX_TEMPFAIL), 77 the
//! token is missing or wrong (EX_NOPERM).

use clap::Parser as _;
use drover::cli::Cli;
use drover::commands;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            // Nobody may read it any more; the code says the same.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match commands::run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("drover: {error:#}");
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
