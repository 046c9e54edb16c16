//! What a unit's state is called here, what may be done to it, and when an order has had its effect. Pure.

use super::systemctl::Unit;

/// An order that has been given to systemd and whose effect is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub action: String,
    /// When the unit had last become active, in microseconds, before the order.
    pub activated_us: u64,
}

/// How an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Done,
    Failed(String),
}

/// `active`, `waiting`, `inactive`, `failed` or `activating`.
pub(super) fn status(unit: &Unit) -> &'static str {
    match unit.active.as_str() {
        "active" if matches!(unit.sub.as_str(), "waiting" | "listening") => "waiting",
        "active" | "reloading" | "deactivating" => "active",
        "activating" => "activating",
        "failed" => "failed",
        // A service that a timer or a socket starts is not off: it waits for its turn.
        _ if !unit.triggered_by.is_empty() => "waiting",
        _ => "inactive",
    }
}

/// What may be done: what the configuration says, but telltale does not stop itself.
pub(super) fn allowed(can: &[String], own: bool) -> Vec<String> {
    can.iter().filter(|action| !own || *action == "restart").cloned().collect()
}

/// Whether an order has had its effect on the unit as it is now.
pub(super) fn progress(order: &Order, unit: &Unit) -> Progress {
    let failed = || {
        let why = if unit.result.is_empty() { "failed" } else { &unit.result };
        Progress::Failed(format!("the unit has failed: {why}"))
    };
    match (order.action.as_str(), unit.active.as_str()) {
        ("stop", "inactive" | "failed") => Progress::Done,
        ("start", "active") => Progress::Done,
        // One that runs to its end is active only for a moment.
        ("start" | "restart", "inactive") if unit.activated_us > order.activated_us => Progress::Done,
        ("restart", "active") if unit.activated_us > order.activated_us => Progress::Done,
        ("start" | "restart", "failed") => failed(),
        _ => Progress::Waiting,
    }
}

/// The unit this process runs in. Source: cgroups(7), the line `0::/path` of the unified hierarchy.
pub(super) fn own_unit(cgroup: &str) -> Option<&str> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/').find(|part| part.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: &str, sub: &str, activated_us: u64) -> Unit {
        Unit { active: active.into(), sub: sub.into(), activated_us, ..Unit::default() }
    }

    #[test]
    fn states_have_their_words() {
        for (active, sub, trigger, word) in [
            ("active", "running", false, "active"),
            ("active", "waiting", false, "waiting"),
            ("active", "listening", false, "waiting"),
            ("activating", "auto-restart", false, "activating"),
            ("failed", "failed", true, "failed"),
            ("inactive", "dead", false, "inactive"),
            ("inactive", "dead", true, "waiting"),
            ("", "", false, "inactive"),
        ] {
            let triggered_by = if trigger { vec!["a.timer".into()] } else { Vec::new() };
            let unit = Unit { triggered_by, ..unit(active, sub, 0) };
            assert_eq!(status(&unit), word, "{active} {sub}");
        }
    }

    #[test]
    fn an_order_is_done_when_its_effect_is_there() {
        use Progress::{Done, Waiting};
        for (action, active, activated_us, expected) in [
            ("stop", "active", 5, Waiting),
            ("stop", "deactivating", 5, Waiting),
            ("stop", "inactive", 5, Done),
            ("start", "inactive", 5, Waiting),
            ("start", "activating", 5, Waiting),
            ("start", "active", 9, Done),
            ("start", "inactive", 9, Done),
            ("restart", "active", 5, Waiting),
            ("restart", "active", 9, Done),
        ] {
            let order = Order { action: action.into(), activated_us: 5 };
            assert_eq!(progress(&order, &unit(active, "", activated_us)), expected, "{action} {active}");
        }
        let order = Order { action: "restart".into(), activated_us: 5 };
        let mut failed = unit("failed", "failed", 5);
        failed.result = "exit-code".into();
        assert_eq!(progress(&order, &failed), Progress::Failed("the unit has failed: exit-code".into()));
    }

    #[test]
    fn telltale_does_not_stop_itself() {
        let can = ["start", "stop", "restart"].map(String::from);
        assert_eq!(allowed(&can, false), can);
        assert_eq!(allowed(&can, true), ["restart"]);
        assert_eq!(own_unit("0::/system.slice/telltale.service\n"), Some("telltale.service"));
        assert_eq!(own_unit("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(
            own_unit("12:pids:/x\n0::/user.slice/user@1.service/app.slice/t.service\n"),
            Some("t.service")
        );
        assert_eq!(own_unit(""), None);
    }
}
