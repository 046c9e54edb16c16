//! `telltale check`: what is wrong with a configuration, what would be used, and what can be set.

use super::{CheckArgs, DONE, USAGE, complain, say};
use crate::config::{self, Config, Device, Flags, Overrides, ProtocolConfig};
use crate::sources::hardware::advice;
use crate::sources::simulated::visa::read;
use std::path::Path;

pub(super) fn check(args: CheckArgs) -> u8 {
    if args.keys {
        say(&config::keys_text());
        return DONE;
    }
    let overrides = Overrides::from_process(Flags { config: args.config, ..Flags::default() });
    match config::check(&overrides) {
        Ok(loaded) => {
            let faults = played(&loaded.config);
            if !faults.is_empty() {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
                complain(&count(faults.len(), "fault"));
                return USAGE;
            }
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
            complain(&count(errors.len(), "fault"));
            USAGE
        }
    }
}

/// What is wrong with the files of simulated devices, and with how they are spoken to.
fn played(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    for port in &config.serial {
        let Device::Visa(visa) = &port.device else { continue };
        match read(&visa.file, visa.resource.as_deref()) {
            Err(fault) => faults.push(fault.to_string()),
            Ok(device) => {
                if let ProtocolConfig::Scpi(scpi) = &port.protocol
                    && scpi.write_end.as_bytes() != device.query_end
                {
                    let ends = String::from_utf8_lossy(&device.query_end).into_owned();
                    faults.push(format!(
                        "serial {}: `write_end` is {:?}, but `{}` of {} hears what ends with {ends:?}",
                        port.id,
                        scpi.write_end,
                        device.name,
                        visa.file.display()
                    ));
                }
            }
        }
    }
    faults
}

fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

fn summary(config: &Config) -> String {
    let bench = if config.bench { ", the simulated bench" } else { "" };
    format!(
        "serves on {}, data in {}, {}, {}{bench}",
        config.listen,
        config.data.display(),
        count(config.gpio.len(), "pin"),
        count(config.serial.len(), "serial port")
    )
}
