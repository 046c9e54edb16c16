//! `telltale completions`.

use super::{CompletionsArgs, DONE, FAILED};
use std::io::Write;

pub(super) fn completions(args: CompletionsArgs, command: &mut clap::Command) -> u8 {
    // Into memory first: the generator panics when its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "telltale", &mut script);
    if std::io::stdout().lock().write_all(&script).is_ok() { DONE } else { FAILED }
}
