//! The program: hands the arguments to `cli` and turns its answer into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    forebay::cli::main(std::env::args_os(), std::env::vars_os(), forebay::app::run)
}
