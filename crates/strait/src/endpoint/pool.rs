//! Many requests, several at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use strait_model::progress::Progress;

use super::{Client, Problem, Reply, account::Room};
use crate::{Error, Result};

/// The time between two looks for a stop.
const LOOK: Duration = Duration::from_millis(50);
/// The time that requests under way get after a stop: their answers are paid for.
const GRACE: Duration = Duration::from_secs(5);

/// A message of a request to the thread that made it.
enum News {
    /// It waits, which takes long.
    Waiting(String),
    /// It has ended.
    Ended(usize, Result<Reply>),
}

/// The taker of replies: the place of a request, and its reply.
pub type Take<'a> = &'a mut dyn FnMut(usize, &Reply) -> Result<()>;

impl Client {
    /// Makes requests, several at a time, and gives each reply with the place of its request as soon as it is there, in any order.
    /// Once one cannot be had no more are made, and pauses before further tries end; those under way are waited for, and taken.
    /// `progress` says when to stop, and tells the user of long waits.
    ///
    /// # Errors
    /// The first problem; the end of the budget is one, and so is a stop that the user asks for. What was given then stands.
    pub fn ask_all(
        self: &Arc<Self>,
        requests: &mut dyn Iterator<Item = Value>,
        take: Take<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut requests = requests.enumerate().peekable();
        let (sender, receiver) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let mut outcome: Result<()> = Ok(());
        let mut stopped: Option<Instant> = None;
        let mut under_way = 0;
        loop {
            if progress.stopped() && stopped.is_none() {
                stopped = Some(Instant::now());
                outcome = outcome.and(Err(Error::Interrupted));
            }
            while outcome.is_ok() && under_way < self.terms().concurrency.max(1) {
                let Some((_, request)) = requests.peek() else { break };
                let need = self.need(request);
                match self.account().reserve(need) {
                    Room::Enough => {}
                    Room::Later => break,
                    Room::Never => {
                        outcome = Err(self.refused(Problem::BudgetUsed {
                            spent: self.spent(),
                            budget: self.terms().budget,
                        }));
                        break;
                    }
                }
                let Some((place, request)) = requests.next() else { break };
                let (client, sender, ended) = (Arc::clone(self), sender.clone(), Arc::clone(&ended));
                let work = move || {
                    // Nobody listens any more after a stop.
                    let say = |words| drop(sender.send(News::Waiting(words)));
                    let reply = client.ask_until(&request, &|| ended.load(Relaxed), &say);
                    let written = client.account().end(need, reply.as_ref().ok().map(Reply::usage));
                    let reply = reply.and_then(|reply| written.map(|()| reply));
                    let _ = sender.send(News::Ended(place, reply));
                };
                match thread::Builder::new().spawn(work) {
                    Ok(_) => under_way += 1,
                    Err(error) => {
                        let refused = Err(Error::Threads { reason: error.to_string() });
                        outcome = self.account().end(need, None).and(refused);
                    }
                }
            }
            ended.store(outcome.is_err(), Relaxed);
            let is_done = under_way == 0 && (outcome.is_err() || requests.peek().is_none());
            if is_done || stopped.is_some_and(|since| since.elapsed() > GRACE) {
                return outcome;
            }
            match receiver.recv_timeout(LOOK) {
                Ok(News::Waiting(words)) => progress.note(&words),
                Ok(News::Ended(place, reply)) => {
                    under_way -= 1;
                    outcome = outcome.and(reply.and_then(|reply| take(place, &reply)));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }
}
