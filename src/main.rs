//! The program: arguments, logging, what was asked, exit code.

use log::LevelFilter;
use std::process::ExitCode;
use telltale::cli::Cli;
use telltale::logging;

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(cli) => {
            logging::start(if cli.is_run() { LevelFilter::Info } else { LevelFilter::Warn });
            ExitCode::from(cli.execute())
        }
        Err(told) => {
            // Faults go to standard error with code 2, --help and --version to standard output with code 0.
            let _ = told.print();
            ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(telltale::cli::USAGE))
        }
    }
}
