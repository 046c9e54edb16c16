//! How far a scan has come, as a share of its points.

/// 0 to 1. It never decreases, is 1 only once the scan has finished, and stays where it was when the scan ends in any
/// other way: 37 of 100 points and then an abort is 0.37 for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    total: Option<u64>,
    share: f64,
    ended: bool,
}

impl Progress {
    /// Of a scan of so many points; none: nobody knows how many.
    pub fn new(total: Option<u64>) -> Progress {
        Progress { total, share: 0.0, ended: false }
    }

    /// So many points are behind it, the skipped ones among them.
    pub fn reached(&mut self, points: u64) {
        let Some(total) = self.total.filter(|total| *total > 0 && !self.ended) else { return };
        // All points taken is not finished: the cleanup may still be aborted.
        let most = 1.0 - 0.5 / total as f64;
        self.share = self.share.max((points as f64 / total as f64).min(most));
    }

    /// The scan has ended: `finished` when it did all it was to do, not when it was stopped early.
    pub fn end(&mut self, finished: bool) {
        if finished && !self.ended {
            self.share = 1.0;
            self.total = self.total.or(Some(0));
        }
        self.ended = true;
    }

    /// The share; none while the total is unknown.
    pub fn value(&self) -> Option<f64> {
        self.total.map(|_| self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_abort_at_37_of_100_is_0_37_for_ever() {
        let mut progress = Progress::new(Some(100));
        progress.reached(37);
        progress.end(false);
        assert_eq!(progress.value(), Some(0.37));
        progress.reached(100);
        progress.end(true);
        assert_eq!(progress.value(), Some(0.37));
    }

    #[test]
    fn all_points_taken_is_not_finished_yet() {
        let mut progress = Progress::new(Some(100));
        progress.reached(99);
        let before = progress.value().unwrap();
        progress.reached(100);
        let all = progress.value().unwrap();
        assert!(before < all && all < 1.0, "{before} {all}");
        progress.end(true);
        assert_eq!(progress.value(), Some(1.0));
    }

    #[test]
    fn without_a_total_nothing_is_known_until_it_has_finished() {
        let mut progress = Progress::new(None);
        progress.reached(1_000);
        assert_eq!(progress.value(), None);
        let mut stopped = progress;
        stopped.end(false);
        assert_eq!(stopped.value(), None);
        progress.end(true);
        assert_eq!(progress.value(), Some(1.0));
    }

    proptest! {
        #[test]
        fn it_never_decreases_and_is_1_only_when_finished(
            total in 0_u64..500, seen in prop::collection::vec(0_u64..1_000, 0..40), finished: bool,
        ) {
            let mut progress = Progress::new(Some(total));
            let mut last = 0.0;
            for points in seen {
                progress.reached(points);
                let now = progress.value().unwrap();
                prop_assert!(now >= last && now < 1.0);
                last = now;
            }
            progress.end(finished);
            prop_assert_eq!(progress.value().unwrap(), if finished { 1.0 } else { last });
        }
    }
}
