//! `telltale check`: what is wrong with a configuration, what would be used, and what can be set.

use super::{CheckArgs, DONE, USAGE, complain, say};
use crate::config::{self, Config, Device, Flags, Overrides};
use crate::sources::hardware::advice;
use std::path::Path;

pub(super) fn check(args: CheckArgs) -> u8 {
    if args.keys {
        say(&config::keys_text());
        return DONE;
    }
    let overrides = Overrides::from_process(Flags { config: args.config, ..Flags::default() });
    match config::check(&overrides) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(warning);
            }
            for port in &loaded.config.serial {
                if let Device::Path(path) = &port.device
                    && let Some(advice) = advice(path, Path::new("/dev/serial/by-id"))
                {
                    complain(&format!("serial {}: {advice}", port.id));
                }
            }
            let from = loaded.file.as_ref().map_or("no file, defaults".into(), |f| f.display().to_string());
            if args.effective {
                say(&format!(
                    "# What telltale uses, from {from}\n# and the environment.\n{}",
                    loaded.config.to_toml().trim_end()
                ));
            } else {
                say(&format!("{from}: no faults; {}", summary(&loaded.config)));
            }
            DONE
        }
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            complain(&format!("{} fault{}", errors.len(), if errors.len() == 1 { "" } else { "s" }));
            USAGE
        }
    }
}

fn summary(config: &Config) -> String {
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let bench = if config.bench { ", the simulated bench" } else { "" };
    format!(
        "serves on {}, data in {}, {}, {}{bench}",
        config.listen,
        config.data.display(),
        count(config.gpio.len(), "pin"),
        count(config.serial.len(), "serial port")
    )
}
