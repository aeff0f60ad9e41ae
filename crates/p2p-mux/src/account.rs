//! One connection's purse: takes from a [`Budget`] in steps, counts bytes without it.

use p2p_core::{Budget, Exceeded, Permit};

/// What is taken from the budget at a time, in bytes.
const STEP: usize = 16 * 1024;

/// Counts what a connection holds. Touches the shared [`Budget`] once in 16 KiB, not once a frame.
#[derive(Debug)]
pub struct Account {
    budget: Budget,
    permit: Option<Permit>,
    /// Invariant: at most what `permit` pays for.
    used: usize,
}

impl Account {
    /// An account that holds nothing yet.
    pub fn new(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            permit: None,
            used: 0,
        }
    }

    /// What is held, in bytes.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The budget it is taken from.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Pays for `bytes` more.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing has changed.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let used = self.used.saturating_add(bytes);
        let missing = used.saturating_sub(self.paid());
        if missing > 0 {
            self.pay(missing.next_multiple_of(STEP))
                .or_else(|_| self.pay(missing))?;
        }
        self.used = used;
        Ok(())
    }

    /// Gives `bytes` back.
    pub fn refund(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "refunded more than was charged");
        self.used = self.used.saturating_sub(bytes);
        if self.paid() > self.used.saturating_add(2 * STEP) {
            self.shrink_to(self.used + STEP);
        }
    }

    /// Keeps no more of the budget than what is held.
    pub fn trim(&mut self) {
        self.shrink_to(self.used);
    }

    fn paid(&self) -> usize {
        self.permit.as_ref().map_or(0, Permit::amount)
    }

    fn pay(&mut self, bytes: usize) -> Result<(), Exceeded> {
        match &mut self.permit {
            Some(permit) => permit.grow(bytes),
            None => {
                self.permit = Some(self.budget.reserve(bytes)?);
                Ok(())
            }
        }
    }

    fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            permit.shrink(permit.amount().saturating_sub(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_account_never_uses_more_than_it_has_paid_and_gives_everything_back(
            ops in proptest::collection::vec((any::<bool>(), 0usize..40_000), 0..200),
        ) {
            let budget = Budget::new("test", "test", 200_000);
            let mut account = Account::new(&budget);
            for (add, bytes) in ops {
                if add {
                    let before = account.used();
                    let fits = bytes <= budget.limit() - before;
                    prop_assert_eq!(account.charge(bytes).is_ok(), fits);
                } else {
                    account.refund(bytes.min(account.used()));
                }
                prop_assert!(account.used() <= budget.used());
                prop_assert!(budget.used() <= account.used() + 3 * STEP);
            }
            account.trim();
            prop_assert_eq!(budget.used(), account.used());
            drop(account);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
