//! The program `lake-submit`, which called `spark-submit` understands Spark's spelling. Edge.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use lake_proto::{ErrorClass, Fault};
use lake_telemetry::{LogFormat, Settings};

use crate::options::Options;
use crate::report::Failed;
use crate::spark;

/// Planning recurses over expressions: deep queries need more than the default.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Runs the program with these arguments, the first of which is its name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if arguments.first().is_some_and(|program| spark::is_spark(program)) {
        match spark::translate(&arguments) {
            Ok(translation) => {
                for name in &translation.dropped {
                    eprintln!("note: {name} has no meaning here and is left out");
                }
                arguments = translation.arguments;
            }
            Err(fault) => return refused(fault),
        }
    }
    run(Options::parse_from(arguments))
}

fn run(options: Options) -> ExitCode {
    let settings = Settings { service: "lake-submit", format: LogFormat::Text, filter: options.log_filter() };
    let _telemetry = match lake_telemetry::start(&settings) {
        Ok(telemetry) => telemetry,
        Err(fault) => return refused(fault),
    };
    let main = std::thread::Builder::new().name("main".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
        let code = runtime.block_on(crate::run(options));
        // A cancelled query may still hold threads; the process does not wait for them. Nor does it detach them, as a
        // shutdown in the background does: glibc 2.36 touches the stack of a thread that ends meanwhile, and a stack of
        // this size is unmapped at once.
        std::mem::forget(runtime);
        Ok::<u8, std::io::Error>(code)
    });
    match main.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(code))) => ExitCode::from(code),
        Ok(Ok(Err(error))) | Err(error) => {
            eprintln!("error[resource/threads]: cannot start threads: {error}");
            ExitCode::from(ErrorClass::Resource.exit_code())
        }
        Ok(Err(_)) => ExitCode::from(ErrorClass::Internal.exit_code()),
    }
}

/// Says why nothing was begun.
fn refused(fault: Fault) -> ExitCode {
    let class = fault.class;
    eprint!("{}", Failed::from(fault).to_text());
    ExitCode::from(class.exit_code())
}
