//! The door through which fuzzers come in: any JSON as the description of a scan gives a plan that can be walked, or faults.

use super::{Bench, Walk, compile, describe_steps};
use crate::sources::{ChannelOffer, Offer};
use std::time::Duration;

/// Instruments `a`, `psu`, `dmm`, `stage` and `oven`, each with the same channels, from 0 to 100; one output, `c`.
struct Few;

impl Bench for Few {
    fn instrument(&self, id: &str) -> Option<Offer> {
        let channel = |name: &str| ChannelOffer {
            name: name.into(),
            settable: true,
            readable: true,
            min: Some(0.0),
            max: Some(100.0),
            ..ChannelOffer::default()
        };
        let channels = ["b", "x", "y", "voltage", "current", "temp"].map(channel).to_vec();
        let is_there = matches!(id, "a" | "psu" | "dmm" | "stage" | "oven");
        is_there.then(|| Offer { id: id.into(), channels, queries: true, ..Offer::default() })
    }

    fn is_output(&self, gpio: &str) -> bool {
        gpio == "c"
    }
}

/// The bytes as a description. What must hold is asserted: a plan is described by what it was made of, and says no more points than
/// it may have; what is refused says why.
pub fn plan(data: &[u8]) {
    let Ok(description) = serde_json::from_slice(data) else { return };
    match compile(&description, &Few, 1_000) {
        Ok(plan) => {
            describe_steps(&plan);
            let mut walk = Walk::new(&plan);
            let _ = (0..10_000).take_while(|_| walk.next(Duration::ZERO).is_some()).count();
            assert!(compile(&plan.description, &Few, 1_000).is_ok(), "its own description is refused");
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
}
