//! Outlets: how something that was decided elsewhere reaches an output pin or a port.
//!
//! Whoever has the hardware offers its channel under the id of its source; whoever wants something done sends an
//! order there. Promises: sending never blocks. Does not: say whether it was done; that is seen by its effect.

use crossbeam::channel::{Sender, TrySendError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What hardware is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// An output becomes active or not.
    Level(bool),
    /// An output becomes active for this long.
    Pulse(Duration),
    /// A port sends these bytes.
    Bytes(Vec<u8>),
}

/// The outlets there are.
#[derive(Debug, Default)]
pub struct Outlets(Mutex<BTreeMap<String, Sender<Order>>>);

impl Outlets {
    /// Orders for the source `id` go to `to` from now on.
    pub fn offer(&self, id: &str, to: Sender<Order>) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).insert(id.to_string(), to);
    }

    /// The source `id` takes no more orders.
    pub fn withdraw(&self, id: &str) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).remove(id);
    }

    /// Hands over an order.
    ///
    /// # Errors
    /// One sentence: there is no such outlet, or it has too much to do.
    pub fn send(&self, id: &str, order: Order) -> Result<(), String> {
        let to = self.0.lock().unwrap_or_else(|e| e.into_inner()).get(id).cloned();
        match to.map(|to| to.try_send(order)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(format!("{id} has too many orders waiting")),
            Some(Err(TrySendError::Disconnected(_))) | None => {
                Err(format!("{id} is no output and no port that is there now"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel::bounded;

    #[test]
    fn orders_reach_who_offered_or_nobody() {
        let outlets = Outlets::default();
        let (to, from) = bounded(1);
        outlets.offer("lamp", to);
        assert_eq!(outlets.send("lamp", Order::Level(true)), Ok(()));
        assert!(outlets.send("lamp", Order::Level(false)).unwrap_err().contains("too many"));
        assert_eq!(from.recv(), Ok(Order::Level(true)));
        outlets.withdraw("lamp");
        assert!(outlets.send("lamp", Order::Level(true)).unwrap_err().contains("no output"));
    }
}
