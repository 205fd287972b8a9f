//! The account of a client: what its requests came to, and the most that those under way may still come to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Budget, Owned, Price, Spent, reply::Usage};
use crate::Result;

/// Tokens of a prompt beside its text, such as those of a template.
const AROUND: u64 = 32;
/// Bytes of text to a token, at least.
const BYTES: u64 = 2;

/// The most tokens that a request can use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    prompt: u64,
    answer: u64,
}

impl Need {
    /// Of a request with so many bytes of text, to be answered with so many tokens.
    pub fn new(text: usize, answer: u64) -> Self {
        Self { prompt: text as u64 / BYTES + AROUND, answer }
    }
}

/// The answer to the question whether a request may be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Room {
    /// It may; its need is set aside.
    Enough,
    /// Not while others are under way, which may use less than their needs.
    Later,
    /// Not within the budget.
    Never,
}

/// The account of a client.
pub struct Account {
    budget: Option<Budget>,
    price: Option<Price>,
    /// The file that it goes on from, and is written into.
    kept: Option<Owned>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    spent: Spent,
    /// The needs of requests under way.
    prompt: u64,
    answer: u64,
}

impl Account {
    pub fn new(budget: Option<Budget>, price: Option<Price>, kept: Option<Owned>) -> Self {
        let spent = kept.as_ref().map(Owned::before).unwrap_or_default();
        Self { budget, price, kept, entries: Mutex::new(Entries { spent, ..Entries::default() }) }
    }

    /// Sets a need aside, where the budget has room for it.
    pub fn reserve(&self, need: Need) -> Room {
        let mut entries = self.entries();
        let Entries { spent, prompt, answer } = &*entries;
        let all = Spent {
            prompt_tokens: spent.prompt_tokens.saturating_add(prompt + need.prompt),
            answer_tokens: spent.answer_tokens.saturating_add(answer + need.answer),
            ..*spent
        };
        match self.budget {
            Some(budget) if !allows(budget, &self.priced(all)) => {
                if *prompt > 0 {
                    Room::Later
                } else {
                    Room::Never
                }
            }
            _ => {
                entries.prompt += need.prompt;
                entries.answer += need.answer;
                Room::Enough
            }
        }
    }

    /// Ends a request that was reserved, with the endpoint's count where it was answered.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn end(&self, need: Need, answered: Option<Option<Usage>>) -> Result<()> {
        let mut entries = self.entries();
        entries.prompt -= need.prompt;
        entries.answer -= need.answer;
        let Some(usage) = answered else { return Ok(()) };
        let (prompt, answer) = usage.map_or((need.prompt, need.answer), Usage::parts);
        entries.spent.add(prompt, answer, usage.is_none());
        self.kept.as_ref().map_or(Ok(()), |kept| kept.add(prompt, answer, usage.is_none()))
    }

    pub fn spent(&self) -> Spent {
        self.priced(self.entries().spent)
    }

    fn priced(&self, spent: Spent) -> Spent {
        Spent { cost: self.price.map(|price| price.of(spent.prompt_tokens, spent.answer_tokens)), ..spent }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if so much lies within a budget.
fn allows(budget: Budget, spent: &Spent) -> bool {
    match budget {
        Budget::Tokens(tokens) => spent.tokens() <= tokens,
        // Without a price nothing can be said to fit.
        Budget::Money(money) => spent.cost.is_some_and(|cost| cost <= money),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt: u64, answer: u64) -> Option<Option<Usage>> {
        Some(Some(Usage { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer }))
    }

    #[test]
    fn a_budget_of_tokens_is_never_exceeded() {
        let account = Account::new(Some(Budget::Tokens(100)), None, None);
        let need = Need { prompt: 30, answer: 20 };
        assert_eq!(account.reserve(need), Room::Enough);
        assert_eq!(account.reserve(need), Room::Enough);
        assert_eq!(account.reserve(need), Room::Later);
        account.end(need, usage(10, 5)).unwrap();
        // A request that was not answered used nothing.
        account.end(need, None).unwrap();
        assert_eq!(
            account.spent(),
            Spent { requests: 1, prompt_tokens: 10, answer_tokens: 5, ..Spent::default() }
        );
        assert_eq!(account.reserve(need), Room::Enough);
        account.end(need, Some(None)).unwrap();
        assert_eq!((account.spent().tokens(), account.spent().uncounted), (65, 1));
        assert_eq!(account.reserve(need), Room::Never);
    }

    #[test]
    fn a_budget_of_money_counts_both_prices() {
        let price = Price { prompts: 1e6, answers: 2e6 };
        let account = Account::new(Some(Budget::Money(70.0)), Some(price), None);
        let need = Need { prompt: 30, answer: 20 };
        assert_eq!(account.reserve(need), Room::Enough);
        account.end(need, usage(1, 1)).unwrap();
        assert_eq!(account.spent().cost, Some(3.0));
        assert_eq!(account.reserve(need), Room::Never);
        assert_eq!(Account::new(Some(Budget::Money(70.0)), None, None).reserve(need), Room::Never);
        assert_eq!(Account::new(None, None, None).reserve(need), Room::Enough);
    }
}
