//! All programs in one file, for images: they share nearly all of their code. It acts by the name that it is started with,
//! as a link to it has: `lake-master`, `lake-worker`, `lake-submit`, `spark-submit`. As `lake` it takes the program from
//! its first argument: `lake master --help`. Edge.

mod called;

use std::ffi::OsString;
use std::process::ExitCode;

use called::{Called, Program};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: lake {master|worker|submit} [arguments], or a link to it that is called lake-master, lake-worker, \
                     lake-submit or spark-submit";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match called::of(arguments) {
        Called::As(Program::Master, arguments) => lake_master::program::main(arguments),
        Called::As(Program::Worker, arguments) => lake_worker::program::main(arguments),
        Called::As(Program::Submit, arguments) => lake_client::program::main(arguments),
        Called::ForHelp => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Called::ForVersion => {
            println!("lake {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Called::ForNothing => refused("no program is named"),
        Called::Wrongly(found) => refused(&format!("'{found}' is no program")),
    }
}

/// What every program says to arguments that it does not know.
fn refused(why: &str) -> ExitCode {
    eprintln!("error[invalid-job/usage]: {why}\n{USAGE}");
    ExitCode::from(2)
}
