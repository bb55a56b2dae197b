//! The binary: parse, telemetry, run, print the error chain, exit code.
//!
//! Exit codes: 0 done; 1 it failed, or something was left; 64 the command line or the configuration is wrong (EX_USAGE of
//! sysexits.h).

use clap::Parser as _;
use drover::cli::Cli;
use drover::commands;
use drover::config::ConfigError;
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
            ExitCode::from(if error.is::<ConfigError>() { ConfigError::EXIT_CODE } else { 1 })
        }
    }
}
