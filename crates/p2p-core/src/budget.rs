//! Paying for what a remote makes us hold.
//!
//! ```text
//!   host (memory_budget) ── peer ── connection ── stream
//! ```
//!
//! A [`Budget`] is a limit with a name, and a child of another budget: what is reserved in the
//! child counts in every ancestor. A [`Permit`] is the receipt; it lives inside the thing that it
//! pays for, and dropping that thing gives the amount back. The unit is bytes for memory; the
//! same tree counts streams or connections one by one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A named limit in a tree of limits. Cheap to clone; clones share the count.
#[derive(Clone)]
pub struct Budget(Arc<Node>);

struct Node {
    parent: Option<Budget>,
    name: &'static str,
    setting: &'static str,
    limit: usize,
    used: AtomicUsize,
    watcher: Option<Watcher>,
}

/// Who is told of what was refused.
type Watcher = Box<dyn Fn(&Exceeded) + Send + Sync>;

/// A reservation did not fit. Nothing was reserved anywhere in the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "limit reached for {name}: {used} of {limit} taken, {wanted} more wanted (setting: {setting})"
)]
pub struct Exceeded {
    /// The budget that was full.
    pub name: &'static str,
    /// The setting that raises it.
    pub setting: &'static str,
    /// Its limit.
    pub limit: usize,
    /// What was taken already.
    pub used: usize,
    /// What was asked for.
    pub wanted: usize,
}

impl Exceeded {
    /// For limits that are counted elsewhere than in a [`Budget`]: whether one more fits where
    /// `used` are taken.
    ///
    /// # Errors
    /// [`Exceeded`] with what is given here.
    pub fn check_one_more(
        name: &'static str,
        setting: &'static str,
        limit: usize,
        used: usize,
    ) -> Result<(), Self> {
        if used < limit {
            return Ok(());
        }
        Err(Self {
            name,
            setting,
            limit,
            used,
            wanted: 1,
        })
    }
}

impl Budget {
    /// A budget without a parent. `name` says what is limited ("memory of the host"), `setting`
    /// which setting changes it ("memory_budget"); both appear in [`Exceeded`].
    pub fn new(name: &'static str, setting: &'static str, limit: usize) -> Self {
        Self::with(None, name, setting, limit, None)
    }

    /// A budget that refuses nothing, for a crate used on its own.
    pub fn unlimited() -> Self {
        Self::new("unlimited", "none", usize::MAX)
    }

    /// A child: what it grants is also taken from `self` and its ancestors.
    pub fn child(&self, name: &'static str, setting: &'static str, limit: usize) -> Self {
        Self::with(Some(self.clone()), name, setting, limit, None)
    }

    /// A child whose `watcher` is told of what was refused to a remote because of it, of one of its
    /// descendants, or of what they count in: see [`Budget::refused`].
    pub fn watched_child(
        &self,
        name: &'static str,
        setting: &'static str,
        limit: usize,
        watcher: impl Fn(&Exceeded) + Send + Sync + 'static,
    ) -> Self {
        let watcher: Watcher = Box::new(watcher);
        Self::with(Some(self.clone()), name, setting, limit, Some(watcher))
    }

    fn with(
        parent: Option<Self>,
        name: &'static str,
        setting: &'static str,
        limit: usize,
        watcher: Option<Watcher>,
    ) -> Self {
        Self(Arc::new(Node {
            parent,
            name,
            setting,
            limit,
            used: AtomicUsize::new(0),
            watcher,
        }))
    }

    /// Tells the nearest watcher, here or above, that a remote was refused something because of
    /// `exceeded`. To be called by whoever refuses: a reservation that fails need not hurt anybody.
    ///
    /// The watcher runs at once, under whatever locks the caller holds.
    pub fn refused(&self, exceeded: &Exceeded) {
        let mut next = Some(self);
        while let Some(Self(node)) = next {
            if let Some(watcher) = &node.watcher {
                return watcher(exceeded);
            }
            next = node.parent.as_ref();
        }
    }

    /// Takes `amount` here and in every ancestor, or nothing at all.
    ///
    /// # Errors
    /// [`Exceeded`] names the first budget, from here upwards, that has no room.
    pub fn reserve(&self, amount: usize) -> Result<Permit, Exceeded> {
        self.take(amount)?;
        Ok(Permit {
            budget: self.clone(),
            amount,
        })
    }

    /// What is taken at the moment.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// What fits in all.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// What could be reserved now, as far as this budget and its ancestors know.
    pub fn available(&self) -> usize {
        let mut room = usize::MAX;
        let mut next = Some(self);
        while let Some(Self(node)) = next {
            room = room.min(node.limit.saturating_sub(node.used.load(Ordering::Relaxed)));
            next = node.parent.as_ref();
        }
        room
    }

    fn take(&self, amount: usize) -> Result<(), Exceeded> {
        let mut next = Some(self);
        while let Some(Self(node)) = next {
            let fits = |used: usize| used.checked_add(amount).filter(|sum| *sum <= node.limit);
            let taken = node
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
            if let Err(used) = taken {
                self.give_back_below(node, amount);
                return Err(Exceeded {
                    name: node.name,
                    setting: node.setting,
                    limit: node.limit,
                    used,
                    wanted: amount,
                });
            }
            next = node.parent.as_ref();
        }
        Ok(())
    }

    /// Undoes a partial [`Budget::take`] that failed at `end`.
    fn give_back_below(&self, end: &Arc<Node>, amount: usize) {
        let mut next = Some(self);
        while let Some(Self(node)) = next {
            if Arc::ptr_eq(node, end) {
                return;
            }
            node.used.fetch_sub(amount, Ordering::Relaxed);
            next = node.parent.as_ref();
        }
    }

    fn give_back(&self, amount: usize) {
        let mut next = Some(self);
        while let Some(Self(node)) = next {
            node.used.fetch_sub(amount, Ordering::Relaxed);
            next = node.parent.as_ref();
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {}", self.0.name, self.used(), self.0.limit)
    }
}

/// The receipt for a part of a [`Budget`]. Dropping it gives the part back.
#[must_use = "dropping a permit gives it back at once"]
pub struct Permit {
    budget: Budget,
    amount: usize,
}

impl Permit {
    /// How much it pays for.
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// Takes `more` in addition.
    ///
    /// # Errors
    /// [`Exceeded`] if there is no room; the permit is unchanged.
    pub fn grow(&mut self, more: usize) -> Result<(), Exceeded> {
        self.budget.take(more)?;
        self.amount += more;
        Ok(())
    }

    /// Gives `less` back, at most everything.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.amount);
        self.amount -= less;
        self.budget.give_back(less);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(self.amount);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.amount, self.budget.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_names_the_budget_that_was_full_and_takes_nothing() {
        let host = Budget::new("memory of the host", "memory_budget", 100);
        let peer = host.child("memory of a peer", "peer_memory", 80);

        let held = peer.reserve(60).unwrap();
        let refused = peer.reserve(30).unwrap_err();
        assert_eq!(refused.name, "memory of a peer");
        let other = host.child("memory of a peer", "peer_memory", 80);
        let refused = other.reserve(50).unwrap_err();
        assert_eq!((refused.name, refused.used), ("memory of the host", 60));
        assert_eq!((other.used(), host.used()), (0, 60));

        drop(held);
        assert_eq!((peer.used(), host.used()), (0, 0));
    }

    proptest! {
        #[test]
        fn whatever_is_reserved_comes_back(ops in proptest::collection::vec((0usize..3, 0usize..60), 0..100)) {
            let root = Budget::new("root", "r", 100);
            let leaf = root.child("leaf", "l", 70);
            let mut permits: Vec<Permit> = Vec::new();
            for (op, amount) in ops {
                match op {
                    0 => permits.extend(leaf.reserve(amount).ok()),
                    1 => { permits.pop(); }
                    _ => if let Some(permit) = permits.last_mut() {
                        if amount % 2 == 0 { let _ = permit.grow(amount); } else { permit.shrink(amount); }
                    }
                }
                let sum: usize = permits.iter().map(Permit::amount).sum();
                prop_assert_eq!(leaf.used(), sum);
                prop_assert_eq!(root.used(), sum);
                prop_assert!(sum <= 70);
            }
            drop(permits);
            prop_assert_eq!(root.used(), 0);
        }
    }
}
