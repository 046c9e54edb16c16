//! Network interfaces, from /sys/class/net and /proc/net. The loopback is left out.

use super::proc::{folders, text};
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// name, up, addresses; signal_dbm for wireless; rx_bytes and tx_bytes.
pub fn interfaces(root: &Path) -> Vec<Value> {
    let v4 = Ipv4::read(root);
    let v6 = text(root, "proc/net/if_inet6").unwrap_or_default();
    let wireless = text(root, "proc/net/wireless").unwrap_or_default();
    let mut all = Vec::new();
    for folder in folders(root, "sys/class/net") {
        let name = folder.rsplit('/').next().unwrap_or_default();
        // Not an interface but a file of the bonding driver: it has no state.
        let Some(state) = text(root, &format!("{folder}/operstate")).filter(|_| name != "lo") else {
            continue;
        };
        let mut addresses: Vec<Value> = v4.of(name).map(|a| a.to_string().into()).collect();
        addresses.extend(v6.lines().filter_map(|line| v6_of(line, name)).map(|a| Value::from(a.to_string())));
        let mut interface = Map::new();
        interface.insert("name".into(), name.into());
        // Virtual ones and some drivers only ever say "unknown".
        interface
            .insert("up".into(), (state == "up" || (state == "unknown" && !addresses.is_empty())).into());
        interface.insert("addresses".into(), addresses.into());
        if let Some(signal) = wireless.lines().find_map(|line| signal_of(line, name)) {
            interface.insert("signal_dbm".into(), signal.into());
        }
        for counter in ["rx_bytes", "tx_bytes"] {
            if let Some(bytes) =
                text(root, &format!("{folder}/statistics/{counter}")).and_then(|t| t.parse::<u64>().ok())
            {
                interface.insert(counter.into(), bytes.into());
            }
        }
        all.push(interface.into());
    }
    all
}

/// ` wlan0: 0000   54.  -56.  -256 ...`: the third number is the level. Drivers that do not know it in dBm give a
/// positive one.
fn signal_of(line: &str, name: &str) -> Option<i64> {
    let (interface, rest) = line.split_once(':')?;
    let level = rest.split_whitespace().nth(2)?.trim_end_matches('.').parse::<i64>().ok()?;
    (interface.trim() == name && level < 0).then_some(level)
}

/// 32 hexadecimal digits, then numbers, then the interface.
fn v6_of(line: &str, name: &str) -> Option<Ipv6Addr> {
    let mut words = line.split_whitespace();
    let digits = words.next().filter(|d| d.len() == 32)?;
    let address = u128::from_str_radix(digits, 16).ok()?;
    (words.nth(4)? == name).then(|| Ipv6Addr::from(address))
}

/// The kernel shows its own IPv4 addresses (fib_trie) and which network is behind which interface (route) apart.
struct Ipv4 {
    local: Vec<Ipv4Addr>,
    /// Interface, network and mask.
    routes: Vec<(String, u32, u32)>,
}

impl Ipv4 {
    fn read(root: &Path) -> Self {
        let mut local = Vec::new();
        let mut last = None;
        for line in text(root, "proc/net/fib_trie").unwrap_or_default().lines().map(str::trim) {
            if let Some(address) = line.strip_prefix("|-- ") {
                last = address.parse::<Ipv4Addr>().ok();
            } else if line == "/32 host LOCAL"
                && let Some(address) = last.filter(|a| !a.is_loopback() && !local.contains(a))
            {
                local.push(address);
            }
        }
        let routes = text(root, "proc/net/route").unwrap_or_default();
        Ipv4 { local, routes: routes.lines().filter_map(route).collect() }
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Ipv4Addr> + 'a {
        let here = move |address: u32| {
            self.routes.iter().any(|(i, network, mask)| i == name && *mask != 0 && address & mask == *network)
        };
        self.local.iter().copied().filter(move |address| here(u32::from(*address)))
    }
}

/// `wlan0 0004A8C0 ... 00FFFFFF`: hexadecimal in the machine's byte order.
fn route(line: &str) -> Option<(String, u32, u32)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number =
        |n: usize| u32::from_str_radix(words.get(n)?, 16).ok().map(|v| u32::from_be_bytes(v.to_ne_bytes()));
    Some(((*words.first()?).to_string(), number(1)?, number(7)?))
}
