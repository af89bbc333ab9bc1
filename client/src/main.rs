//! The `lake-submit` binary: see [`lake_client::program`]. Edge.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lake_client::program::main(std::env::args_os().collect())
}
