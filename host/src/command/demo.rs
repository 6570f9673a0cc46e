//! placeholder
use crate::cli::Cli;
use crate::exit::Exit;
pub fn demo(_: &Cli, _: bool) -> Exit {
    Exit::Failed
}
