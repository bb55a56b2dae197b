//! From flags to settings.
//!
//! Owns which flag sets which setting, under which name a problem is told. Flags that are no settings stay in the types
//! of the command line.

use super::{
    BenchCommand, BrokerFlags, Cli, Command, ConfigCommand, DeadLettersCommand, Override, PipelineFlags, RunArgs,
    StoreFlags, TopicsCommand,
};

impl Cli {
    /// The settings that the flags of this command line give, in no particular order.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let mut flags = Flags::default();
        flags.text("log.filter", "--log", self.log.as_ref());
        match &self.command {
            Command::Run(args) => flags.run(args),
            Command::Consume(args) => {
                flags.pipeline(&args.pipeline);
                flags.text("consumers.ids", "--consumer-id", Some(&args.consumer_id));
            }
            Command::Demo(args) => {
                flags.text("consumers.count", "--consumers", args.consumers.as_ref());
                flags.text("kafka.partitions", "--partitions", args.partitions.as_ref());
                flags.text("http.addr", "--http-addr", args.http_addr.as_ref());
                flags.text("http.read_only", "--read-only", args.read_only.then_some(&true));
                flags.store(&args.store);
            }
            Command::Produce(args) => {
                flags.broker(&args.broker);
                flags.text("kafka.topics", "--topic", args.topic.as_ref());
            }
            Command::Topics(args) => flags.topics(&args.command),
            Command::Offsets(args) => {
                let (broker, store) = args.command.connections();
                flags.broker(broker);
                flags.store(store);
            }
            // It speaks to a drover that has its settings already.
            Command::Consumers(_) | Command::Drill(_) => {}
            Command::DeadLetters(args) => match &args.command {
                DeadLettersCommand::List { store, .. } | DeadLettersCommand::Show { store, .. } => flags.store(store),
            },
            Command::Audit(args) => {
                flags.broker(&args.broker);
                flags.store(&args.store);
            }
            Command::Bench(args) => flags.bench(&args.command),
            Command::Migrate(args) => flags.store(&args.store),
            Command::Config(args) => match &args.command {
                ConfigCommand::Show { run, .. } | ConfigCommand::Check { run } => flags.run(run),
            },
        }
        flags.0
    }
}

/// The settings found so far.
#[derive(Default)]
struct Flags(Vec<Override>);

impl Flags {
    fn text(&mut self, key: &'static str, flag: &'static str, value: Option<&impl ToString>) {
        self.0.extend(value.map(|value| Override { key, value: value.to_string(), flag }));
    }

    fn list(&mut self, key: &'static str, flag: &'static str, values: &[String]) {
        let value = values.join(",");
        self.text(key, flag, (!values.is_empty()).then_some(&value));
    }

    fn broker(&mut self, flags: &BrokerFlags) {
        self.text("kafka.brokers", "--brokers", flags.brokers.as_ref());
    }

    fn store(&mut self, flags: &StoreFlags) {
        self.text("store.url", "--database-url", flags.database_url.as_ref().map(|url| &url.0));
    }

    fn pipeline(&mut self, flags: &PipelineFlags) {
        self.broker(&flags.broker);
        self.store(&flags.store);
        self.list("kafka.topics", "--topic", &flags.topics);
        self.text("kafka.group", "--group", flags.group.as_ref());
        self.text("http.addr", "--http-addr", flags.http_addr.as_ref());
        self.text("http.read_only", "--read-only", flags.read_only.then_some(&true));
        self.text("replica_id", "--replica-id", flags.replica_id.as_ref());
        self.text("shutdown.leave", "--leave", flags.leave.then_some(&true));
        self.text("store.migrate", "--no-migrate", flags.no_migrate.then_some(&false));
    }

    fn run(&mut self, args: &RunArgs) {
        self.pipeline(&args.pipeline);
        self.text("consumers.count", "--consumers", args.consumers.as_ref());
        self.list("consumers.ids", "--consumer-id", &args.consumer_ids);
    }

    fn bench(&mut self, command: &BenchCommand) {
        let common = command.common();
        self.store(&common.store);
        self.text("store.writers", "--writers", common.writers.as_ref());
        let (broker, consumers) = match command {
            BenchCommand::Pipeline(args) => (&args.broker, args.consumers),
            BenchCommand::Latency(args) => (&args.broker, args.consumers),
            BenchCommand::Store(_) => return,
        };
        self.broker(broker);
        self.text("consumers.count", "--consumers", consumers.as_ref());
    }

    fn topics(&mut self, command: &TopicsCommand) {
        match command {
            TopicsCommand::List { broker, .. }
            | TopicsCommand::Describe { broker, .. }
            | TopicsCommand::AddPartitions { broker, .. } => self.broker(broker),
            TopicsCommand::Create { broker, partitions, replication, .. } => {
                self.broker(broker);
                self.text("kafka.partitions", "--partitions", partitions.as_ref());
                self.text("kafka.replication", "--replication", replication.as_ref());
            }
        }
    }
}
