//! The verbs, one file each, and what they share: writing to standard output, and the last word after a failure.
//! Edge.

mod kill;
mod list;
mod load;
mod logs;
mod status;
mod submit;

use std::io::Write;

use lake_proto::{ErrorClass, Fault};

use crate::client::Client;
use crate::options::{Options, Output};
use crate::report::Failed;

/// Does what the command line says and returns the exit code: 0, that of an error class, or 130 when detached.
pub async fn run(options: Options) -> u8 {
    if options.job.is_some() {
        return submit::run(&options).await;
    }
    let result = match &options {
        Options { status: Some(id), .. } => status::run(&options, id).await,
        Options { kill: Some(id), .. } => kill::run(&options, id).await,
        Options { logs: Some(id), .. } => logs::run(&options, id).await,
        _ => list::run(&options).await,
    };
    match result {
        Ok(()) => 0,
        Err(fault) => {
            let failed = Failed::from(fault);
            eprint!("{}", failed.to_text());
            if options.output == Output::Json {
                // The exit code says the same when nobody reads the document.
                let _ = print(&failed.to_json());
            }
            failed.first().class.exit_code()
        }
    }
}

fn client(options: &Options) -> Result<Client, Fault> {
    Client::new(&options.master, options.connect_timeout)
}

/// One line, or one document, to standard output.
fn print(value: &impl std::fmt::Display) -> Result<(), Fault> {
    write(format!("{value:#}\n").as_bytes())
}

fn write(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) => {
            let message = format!("cannot write to standard output: {error}");
            Err(Fault::new(ErrorClass::Resource, "stdout", message))
        }
    }
}
