//! The `lake-master` binary: see [`lake_master::program`]. Edge.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lake_master::program::main(std::env::args_os().collect())
}
