//! The `lake-worker` binary: see [`lake_worker::program`]. Edge.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lake_worker::program::main(std::env::args_os().collect())
}
