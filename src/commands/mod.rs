//! One file per command. All printing to standard output happens here; logs go to standard error.

pub mod actor;
pub mod audit;
pub mod bench;
pub mod config;
pub mod consumers;
pub mod dead_letters;
pub mod demo;
pub mod drill;
pub mod migrate;
pub mod offsets;
pub mod produce;
pub mod run;
pub mod table;
pub mod topics;

use crate::actors::leases::LeaseError;
use crate::app;
use crate::cli::{Cli, Command};
use crate::client::ClientError;
use crate::config::{Config, ConfigError, Inputs, LogConfig, Needs, load};
use crate::store;
use crate::telemetry;
use anyhow::Context as _;

/// Runs what the command line asks for; gives back whether all went well.
///
/// # Errors
/// What went wrong, with its causes.
pub fn run(cli: Cli) -> anyhow::Result<bool> {
    let overrides = cli.overrides();
    let inputs = |needs| Inputs::of_process(cli.config.as_deref(), overrides.clone(), needs);
    let with_store = || loaded(inputs(Needs { store: true }));
    let without_store = || loaded(inputs(Needs { store: false }));
    let mut out = std::io::stdout();
    match &cli.command {
        Command::Config(args) => config::run(args, inputs(Needs { store: false }), &mut out).map(|()| true),
        Command::Run(_) | Command::Consume(_) => {
            let config = with_store()?;
            app::on_system(config.drills.enabled, async move { run::run(config, &mut out).await })
        }
        Command::Demo(args) => {
            let demo = demo::prepare(args, overrides.clone())?;
            start_telemetry(&demo.config().log)?;
            let (clean, broker) = app::on_system(true, async move { demo.run(&mut out).await })?;
            // The process ends now; what still speaks to the broker in the background must not find it gone.
            std::mem::forget(broker);
            Ok(clean)
        }
        Command::Produce(args) => {
            let config = without_store()?;
            let topic = args.topic.as_ref().or(config.kafka.topics.first()).map_or("", String::as_str);
            let mapping = app::mapping(&config.events, topic);
            app::on_system(
                false,
                async move { produce::run(&config.kafka, &mapping, args, &mut out).await.map(|()| true) },
            )
        }
        Command::Topics(args) => {
            let config = without_store()?;
            app::on_system(false, async move { topics::run(&config.kafka, args, &mut out).await.map(|()| true) })
        }
        Command::Consumers(args) => {
            app::on_system(false, async move { consumers::run(&args.command, &mut out).await.map(|()| true) })
        }
        Command::Audit(args) => {
            let config = with_store()?;
            let store = store::open(&config.store)?;
            app::on_system(false, async move { audit::run(args, &config.kafka, &store, &mut out, &mut |_| {}).await })
        }
        Command::Offsets(args) => {
            let config = with_store()?;
            let store = store::open(&config.store)?;
            app::on_system(false, async move { offsets::run(&args.command, &config.kafka, &store, &mut out).await })
        }
        Command::DeadLetters(args) => {
            let store = store::open(&with_store()?.store)?;
            app::on_system(
                false,
                async move { dead_letters::run(&args.command, &*store, &mut out).await.map(|()| true) },
            )
        }
        Command::Drill(args) => app::on_system(false, async move { drill::run(args, &mut out).await }),
        Command::Bench(args) => {
            let config = with_store()?;
            let file = cli.config.as_deref();
            app::on_system(false, async move { bench::run(&args.command, file, &config, &mut out).await })
        }
        Command::Migrate(args) => {
            let store = store::open(&with_store()?.store)?;
            app::on_system(false, async move { migrate::run(args, &*store, &mut out).await.map(|()| true) })
        }
    }
}

/// The exit code of an error.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<app::AppError>() {
        Some(app::AppError::Place(LeaseError::Taken { .. })) => LeaseError::EXIT_CODE,
        _ if error.is::<ConfigError>() => ConfigError::EXIT_CODE,
        _ => error.downcast_ref::<ClientError>().map_or(1, ClientError::exit_code),
    }
}

/// The configuration, with telemetry set up as it says.
fn loaded(inputs: Inputs) -> anyhow::Result<Config> {
    let config = load(&inputs)?;
    start_telemetry(&config.log)?;
    Ok(config)
}

fn start_telemetry(log: &LogConfig) -> anyhow::Result<()> {
    telemetry::init(log).context("setting up the log")
}
