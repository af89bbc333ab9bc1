//! Measures queries on a running cluster against DataFusion in this process, on the same files and cores; and a master
//! under many workers and submissions. Edge.
//!
//! `scripts/bench` starts the daemons, makes the data and calls this; `scripts/chaos` calls `swarm`.

mod answers;
mod cluster;
mod local;
mod records;
mod swarm;
mod tpch;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use url::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The 22 TPC-H queries, each on the cluster and in this process, best of `runs`, answers compared.
    Tpch {
        /// Master URL.
        #[arg(long)]
        master: String,
        /// Folder of the Delta tables (`lineitem`, …).
        #[arg(long)]
        tables: Url,
        /// Folder of q01.sql … q22.sql.
        #[arg(long)]
        sql: PathBuf,
        /// Runs of each query on each side.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Cores of this process; the cluster should have as many.
        #[arg(long, default_value_t = 2)]
        cores: usize,
        /// Only these queries.
        #[arg(long, value_delimiter = ',')]
        only: Vec<u8>,
        /// Where the figures go as JSON.
        #[arg(long)]
        json: PathBuf,
    },
    /// Plain DataFusion: Parquet files to Hive-partitioned Parquet files. Prints seconds and rows as JSON.
    WriteParquet {
        /// Folder of Parquet files.
        #[arg(long)]
        from: String,
        /// New folder.
        #[arg(long)]
        to: String,
        /// Partition column.
        #[arg(long)]
        partition_by: Option<String>,
        /// Cores.
        #[arg(long, default_value_t = 2)]
        cores: usize,
    },
    /// Plain DataFusion: the statements of a file, one after another, over CSV folders. Prints seconds as JSON.
    Statements {
        /// `COPY (SELECT …) TO …` and `CREATE EXTERNAL TABLE …` statements, separated by `;`.
        #[arg(long)]
        sql: PathBuf,
        /// Cores.
        #[arg(long, default_value_t = 2)]
        cores: usize,
    },
    /// Records of ended applications in a folder for `lake-master --history-dir`. Prints the id of the largest.
    Records {
        /// Where the files go.
        #[arg(long)]
        folder: PathBuf,
        /// Applications of two tasks.
        #[arg(long, default_value_t = 1_000)]
        applications: u32,
        /// Tasks of one more.
        #[arg(long, default_value_t = 10_000)]
        tasks: u32,
    },
    /// A master of its own with workers that only beat and submissions that only wait; then kill -9 and a restart.
    /// Prints figures as JSON.
    Swarm {
        /// The program `lake-master`.
        #[arg(long)]
        program: PathBuf,
        /// New folder for the master's data and log.
        #[arg(long)]
        folder: PathBuf,
        /// job.toml whose pipeline is submitted.
        #[arg(long)]
        job: PathBuf,
        /// Workers, each on a connection of its own.
        #[arg(long, default_value_t = 1_000)]
        workers: u32,
        /// Submissions.
        #[arg(long, default_value_t = 10_000)]
        submissions: u32,
        /// Connections that submit at once.
        #[arg(long, default_value_t = 4)]
        submitters: u32,
        /// How long heartbeats alone are watched.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The core that the master may use; default: all.
        #[arg(long)]
        core: Option<u32>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cores = match &arguments.command {
        Command::Tpch { cores, .. } | Command::WriteParquet { cores, .. } | Command::Statements { cores, .. } => *cores,
        Command::Swarm { .. } | Command::Records { .. } => 2,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_stack_size(32 << 20)
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        match arguments.command {
            Command::Tpch { master, tables, sql, runs, cores, only, json } => {
                tpch::run(&tpch::Options { master, tables, sql, runs, cores, only, json }).await
            }
            Command::WriteParquet { from, to, partition_by, cores } => {
                local::write_parquet(&from, &to, partition_by.as_deref(), cores).await
            }
            Command::Records { folder, applications, tasks } => records::write(&folder, applications, tasks),
            Command::Statements { sql, cores } => local::statements(&sql, cores).await,
            Command::Swarm { program, folder, job, workers, submissions, submitters, seconds, core } => {
                let options = swarm::Options { program, folder, job, workers, submissions, submitters, seconds, core };
                swarm::run(&options).await
            }
        }
    })
}
