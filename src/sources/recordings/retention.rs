//! Retention: which recordings go, and why. Pure: what there is, the rules and the moment come in, a plan comes out.
//!
//! In this order: what has been in the bin long enough; by age; by sum; by free space. The oldest go first. Never a pinned one,
//! never one that grows, never one that is kept on purpose for a while. Nothing by age while the clock can't be believed. Below
//! the floor of free space the bin goes before anything nobody threw away, and below half the floor all of it at once. A
//! plan that takes more than half of what is not pinned, by number or by size, is held until somebody has confirmed it.

use crate::clock::Wall;
use std::time::Duration;

/// One recording as retention sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub id: std::sync::Arc<str>,
    pub bytes: u64,
    /// What its age is counted from.
    pub began: Wall,
    pub pinned: bool,
    pub growing: bool,
    pub binned_at: Option<Wall>,
    /// Not before.
    pub keep_until: Option<Wall>,
}

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Rules {
    pub keep_age: Option<Duration>,
    pub keep_bytes: Option<u64>,
    /// Bytes that shall be free; 0 for no floor.
    pub floor: u64,
    pub bin_age: Option<Duration>,
}

/// What holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub wall: Wall,
    /// See [`crate::clock::Clock::age_may_be_trusted`].
    pub age_trusted: bool,
    /// Bytes free on the disk; none when that is not known, and then nothing goes for the floor.
    pub free: Option<u64>,
}

/// Why one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    BinAge,
    Age,
    Size,
    Space,
}

impl Why {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Why::BinAge => "in the bin for long enough",
            Why::Age => "too old",
            Why::Size => "the recordings take more than they may",
            Why::Space => "the disk was nearly full",
        }
    }
}

/// What is to go, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Goes now.
    pub purge: Vec<(Item, Why)>,
    /// Goes when somebody has confirmed it.
    pub held: Vec<(Item, Why)>,
    /// Recordings that are not pinned, and their bytes: what the half is of.
    pub of: (usize, u64),
}

/// Makes the plan.
pub(super) fn plan(items: &[Item], rules: &Rules, now: &Now) -> Plan {
    let free_to_go = |item: &&Item| {
        !item.pinned
            && !item.growing
            && item.keep_until.is_none_or(|until| now.age_trusted && until <= now.wall)
    };
    let older = |since: Wall, age: Option<Duration>| {
        let age = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        now.age_trusted && age.is_some_and(|age| since.0.saturating_add(age) < now.wall.0)
    };
    let mut bin: Vec<&Item> = items.iter().filter(|i| i.binned_at.is_some()).filter(free_to_go).collect();
    bin.sort_by_key(|item| item.binned_at);
    let mut live: Vec<&Item> = items.iter().filter(|i| i.binned_at.is_none()).filter(free_to_go).collect();
    live.sort_by_key(|item| item.began);

    let mut plan = Plan::default();
    let mut go: Vec<(&Item, Why)> = Vec::new();
    let mut freed = 0;
    bin.retain(|item| {
        let goes = older(item.binned_at.unwrap_or(now.wall), rules.bin_age);
        if goes {
            freed += item.bytes;
            plan.purge.push(((*item).clone(), Why::BinAge));
        }
        !goes
    });
    live.retain(|item| {
        let goes = older(item.began, rules.keep_age);
        if goes {
            freed += item.bytes;
            go.push((item, Why::Age));
        }
        !goes
    });
    if let Some(most) = rules.keep_bytes {
        let gone: u64 = go.iter().map(|(item, _)| item.bytes).sum();
        let there: u64 = items.iter().filter(|i| i.binned_at.is_none()).map(|i| i.bytes).sum();
        let mut there = there - gone;
        live.retain(|item| {
            let goes = there > most;
            if goes {
                there -= item.bytes;
                freed += item.bytes;
                go.push((item, Why::Size));
            }
            !goes
        });
    }
    if let Some(free) = now.free.filter(|free| *free < rules.floor) {
        let emergency = free < rules.floor / 2;
        for item in bin {
            if emergency || free.saturating_add(freed) < rules.floor {
                freed += item.bytes;
                plan.purge.push((item.clone(), Why::Space));
            }
        }
        for item in live {
            if free.saturating_add(freed) < rules.floor {
                freed += item.bytes;
                go.push((item, Why::Space));
            }
        }
    }
    let unpinned = items.iter().filter(|i| i.binned_at.is_none() && !i.pinned);
    plan.of = unpinned.fold((0, 0), |(count, bytes), item| (count + 1, bytes + item.bytes));
    let bytes: u64 = go.iter().map(|(item, _)| item.bytes).sum();
    let too_many = go.len() * 2 > plan.of.0 || bytes > plan.of.1 / 2;
    let go = go.into_iter().map(|(item, why)| (item.clone(), why));
    if too_many {
        plan.held.extend(go)
    } else {
        plan.purge.extend(go)
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u64 = 86_400_000;
    const NOW: u64 = 1_000 * DAY;

    /// One that began so many days ago, with so many bytes.
    fn item(id: &str, days: u64, bytes: u64) -> Item {
        Item {
            id: id.into(),
            bytes,
            began: Wall(NOW - days * DAY),
            pinned: false,
            growing: false,
            binned_at: None,
            keep_until: None,
        }
    }

    fn binned(id: &str, days: u64, bytes: u64) -> Item {
        Item { binned_at: Some(Wall(NOW - days * DAY)), ..item(id, days + 100, bytes) }
    }

    fn ids(list: &[(Item, Why)]) -> String {
        list.iter().map(|(item, why)| format!("{}:{why:?}", item.id)).collect::<Vec<_>>().join(" ")
    }

    const TRUSTED: Now = Now { wall: Wall(NOW), age_trusted: true, free: None };

    #[test]
    fn what_goes_when() {
        let days = |n: u64| Some(Duration::from_millis(n * DAY));
        let base = || {
            vec![item("a", 40, 10), item("b", 30, 10), item("c", 20, 10), item("d", 10, 10), item("e", 0, 10)]
        };
        let pinned = |mut items: Vec<Item>, n: usize| {
            items[n].pinned = true;
            items
        };
        let growing = |mut items: Vec<Item>, n: usize| {
            items[n].growing = true;
            items
        };
        let with = |mut items: Vec<Item>, more: Item| {
            items.push(more);
            items
        };
        let no = Rules::default();
        let age = Rules { keep_age: days(35), ..no };
        let size = |n| Rules { keep_bytes: Some(n), ..no };
        let floor = |n| Rules { floor: n, ..no };
        let bin = Rules { bin_age: days(30), ..no };
        let free = |n| Now { free: Some(n), ..TRUSTED };
        let doubtful = Now { age_trusted: false, ..TRUSTED };
        for (name, items, rules, now, purge, held) in [
            ("nothing configured", base(), no, TRUSTED, "", ""),
            ("by age", base(), age, TRUSTED, "a:Age", ""),
            ("never pinned", pinned(base(), 0), age, TRUSTED, "", ""),
            ("never growing", growing(base(), 0), age, TRUSTED, "", ""),
            ("not while the clock is in doubt", base(), age, doubtful, "", ""),
            ("size goes on though", base(), size(30), doubtful, "a:Size b:Size", ""),
            ("a pinned one counts but stays", pinned(base(), 0), size(30), TRUSTED, "b:Size c:Size", ""),
            ("age counts for size", base(), Rules { keep_bytes: Some(40), ..age }, TRUSTED, "a:Age", ""),
            ("more than half is held", base(), size(20), TRUSTED, "", "a:Size b:Size c:Size"),
            (
                "more than half in bytes is held",
                with(base(), item("f", 99, 90)),
                size(60),
                TRUSTED,
                "",
                "f:Size",
            ),
            ("the only one is more than half", vec![item("a", 40, 1)], age, TRUSTED, "", "a:Age"),
            ("the floor", base(), floor(100), free(85), "a:Space b:Space", ""),
            ("free enough", base(), floor(100), free(100), "", ""),
            ("free not known", base(), floor(100), TRUSTED, "", ""),
            ("the bin first", with(base(), binned("x", 1, 10)), floor(100), free(95), "x:Space", ""),
            (
                "in need all of the bin",
                with(with(base(), binned("x", 1, 60)), binned("y", 2, 10)),
                floor(100),
                free(49),
                "y:Space x:Space",
                "",
            ),
            ("old in the bin", with(base(), binned("x", 31, 10)), bin, TRUSTED, "x:BinAge", ""),
            ("young in the bin", with(base(), binned("x", 29, 10)), bin, TRUSTED, "", ""),
            ("the bin in doubt", with(base(), binned("x", 31, 10)), bin, doubtful, "", ""),
            (
                "what goes from the bin is not held with the rest",
                with(base(), binned("x", 31, 10)),
                Rules { keep_bytes: Some(0), ..bin },
                TRUSTED,
                "x:BinAge",
                "a:Size b:Size c:Size d:Size e:Size",
            ),
            (
                "kept for a while",
                with(base(), Item { keep_until: Some(Wall(NOW + 1)), ..binned("x", 31, 10) }),
                Rules { floor: 100, ..bin },
                free(10),
                "",
                "a:Space b:Space c:Space d:Space e:Space",
            ),
        ] {
            let plan = plan(&items, &rules, &now);
            assert_eq!((ids(&plan.purge), ids(&plan.held)), (purge.into(), held.into()), "{name}");
        }
    }

    prop_compose! {
        fn any_item()(
            days in 0u64..100, bytes in 0u64..100, pinned: bool, growing: bool, bin in proptest::option::of(0u64..100),
        ) -> Item {
            Item { pinned, growing, binned_at: bin.map(|d| Wall(NOW - d * DAY)), ..item("x", days, bytes) }
        }
    }

    proptest! {
        #[test]
        fn no_rules_touch_what_is_not_theirs(
            mut items in proptest::collection::vec(any_item(), 0..30), age in proptest::option::of(0u64..100),
            size in proptest::option::of(0u64..2000), floor in 0u64..1000, free in proptest::option::of(0u64..1000), age_trusted: bool,
        ) {
            for (n, item) in items.iter_mut().enumerate() {
                item.id = n.to_string().into();
            }
            let days = |n| Duration::from_millis(n * DAY);
            let rules = Rules { keep_age: age.map(days), keep_bytes: size, floor, bin_age: Some(days(30)) };
            let plan = plan(&items, &rules, &Now { wall: Wall(NOW), age_trusted, free });
            let all: Vec<_> = plan.purge.iter().chain(&plan.held).collect();
            let mut seen = std::collections::BTreeSet::new();
            for (item, why) in &all {
                prop_assert!(!item.pinned && !item.growing);
                prop_assert!(seen.insert(item.id.clone()), "twice");
                prop_assert!(age_trusted || !matches!(why, Why::Age | Why::BinAge));
            }
            let live: Vec<_> = plan.purge.iter().filter(|(i, _)| i.binned_at.is_none()).collect();
            prop_assert!(live.len() * 2 <= plan.of.0.max(live.len() * 2 * usize::from(live.is_empty())));
            prop_assert!(live.iter().map(|(i, _)| i.bytes).sum::<u64>() <= plan.of.1 / 2);
            // The oldest first: whatever stays for one reason is no older than what goes for it.
            for (gone, _) in all.iter().filter(|(_, why)| *why == Why::Size) {
                for item in items.iter().filter(|i| !i.pinned && !i.growing && i.binned_at.is_none()) {
                    prop_assert!(seen.contains(&item.id) || item.began >= gone.began);
                }
            }
        }
    }
}
