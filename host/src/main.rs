//! `worker`: runs worker plugins on the changes a CKAN portal announces.

use std::panic::catch_unwind;
use std::process::ExitCode;

use ckan_worker::cli::Cli;
use ckan_worker::exit::Exit;
use ckan_worker::{command, log};

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    log::start(&cli);
    // The panic itself has been printed where it happened.
    catch_unwind(|| command::run(&cli)).unwrap_or(Exit::Internal).into()
}
