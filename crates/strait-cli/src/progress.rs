//! Progress on standard error: bars on a terminal, now and then a line elsewhere.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use strait_model::progress::{Progress, Task, Unit};

use crate::{interrupt, text::line, units};

/// Progress as standard error can show it.
pub fn on_standard_error() -> Arc<dyn Progress> {
    if io::stderr().is_terminal() {
        Arc::new(Bars::default())
    } else {
        let began = Instant::now();
        Arc::new(Lines::new(io::stderr(), move || began.elapsed()))
    }
}

/// The time after which a bar is redrawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);
/// A task that took at least this long gets a line about its end.
const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// Bars for a terminal, one for each running task.
#[derive(Default)]
struct Bars {
    bars: MultiProgress,
}

impl Progress for Bars {
    fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let bar = self.bars.add(bar);
        bar.set_style(style(total.is_some(), unit));
        bar.set_prefix(line(title));
        bar.enable_steady_tick(TICK);
        Box::new(Bar { bars: self.bars.clone(), bar, unit })
    }

    fn note(&self, said: &str) {
        // Nobody is left to tell where standard error is gone.
        let _ = self.bars.println(line(said));
    }

    fn stopped(&self) -> bool {
        interrupt::stopped()
    }
}

fn style(bounded: bool, unit: Unit) -> ProgressStyle {
    let template = match (bounded, unit) {
        (true, Unit::Count) => "{prefix} {bar:24} {human_pos}/{human_len}  {rate}  {eta} left  {wide_msg}",
        (true, Unit::Bytes) => {
            "{prefix} {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}"
        }
        (false, Unit::Count) => "{prefix} {spinner} {human_pos}  {rate}  {wide_msg}",
        (false, Unit::Bytes) => "{prefix} {spinner} {bytes}  {bytes_per_sec}  {wide_msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, line: &mut dyn fmt::Write| {
        // A bar that cannot be written is not worth an error.
        let _ = write!(line, "{}/s", units::digits(state.per_sec()));
    };
    style.with_key("rate", rate).progress_chars("━╸ ")
}

struct Bar {
    bars: MultiProgress,
    bar: ProgressBar,
    unit: Unit,
}

impl Task for Bar {
    fn advance(&self, n: u64) {
        self.bar.inc(n);
    }

    fn say(&self, state: &str) {
        self.bar.set_message(line(state));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let took = self.bar.elapsed();
        self.bar.finish_and_clear();
        if took >= WORTH_A_LINE {
            let state = TaskState {
                done: self.bar.position(),
                total: self.bar.length(),
                unit: self.unit,
                said: self.bar.message(),
            };
            let _ = self.bars.println(state.end(&self.bar.prefix(), took));
        }
    }
}

/// The least time between two lines of one task.
const QUIET: Duration = Duration::from_secs(10);

/// Plain lines, for logs: the start of each task, its end, and now and then how far it is.
struct Lines<W, C> {
    sink: Arc<Mutex<W>>,
    /// Time since some moment.
    clock: C,
}

impl<W: Write, C> Lines<W, C> {
    fn new(sink: W, clock: C) -> Self {
        Self { sink: Arc::new(Mutex::new(sink)), clock }
    }
}

impl<W, C> Progress for Lines<W, C>
where
    W: Write + Send + 'static,
    C: Fn() -> Duration + Clone + Send + Sync + 'static,
{
    fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        let began = (self.clock)();
        let task = LineTask {
            title: line(title),
            sink: Arc::clone(&self.sink),
            clock: self.clock.clone(),
            began,
            state: Mutex::new(LineState {
                state: TaskState { done: 0, total, unit, said: String::new() },
                printed: began,
            }),
        };
        let start = task.state().state.start(&task.title);
        write_line(&self.sink, &start);
        Box::new(task)
    }

    fn note(&self, said: &str) {
        write_line(&self.sink, &line(said));
    }

    fn stopped(&self) -> bool {
        interrupt::stopped()
    }
}

fn write_line(sink: &Mutex<impl Write>, line: &str) {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    // Work goes on where nobody can read how far it is.
    let _ = writeln!(sink, "{line}");
}

struct LineTask<W: Write, C: Fn() -> Duration> {
    title: String,
    sink: Arc<Mutex<W>>,
    clock: C,
    began: Duration,
    state: Mutex<LineState>,
}

struct LineState {
    state: TaskState,
    printed: Duration,
}

impl<W: Write, C: Fn() -> Duration> LineTask<W, C> {
    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W, C> Task for LineTask<W, C>
where
    W: Write + Send,
    C: Fn() -> Duration + Send,
{
    fn advance(&self, n: u64) {
        let now = (self.clock)();
        let mut state = self.state();
        state.state.done += n;
        if now.saturating_sub(state.printed) >= QUIET && state.state.total != Some(state.state.done) {
            state.printed = now;
            write_line(&self.sink, &state.state.middle(&self.title, now.saturating_sub(self.began)));
        }
    }

    fn say(&self, said: &str) {
        self.state().state.said = line(said);
    }
}

impl<W: Write, C: Fn() -> Duration> Drop for LineTask<W, C> {
    fn drop(&mut self) {
        let took = (self.clock)().saturating_sub(self.began);
        if took >= WORTH_A_LINE {
            let end = self.state().state.end(&self.title, took);
            write_line(&self.sink, &end);
        }
    }
}

/// The state of a task.
struct TaskState {
    done: u64,
    total: Option<u64>,
    unit: Unit,
    said: String,
}

impl TaskState {
    fn start(&self, title: &str) -> String {
        match self.total {
            Some(total) => format!("{title}: {} to do", self.amount(total)),
            None => format!("{title}: begun"),
        }
    }

    fn middle(&self, title: &str, took: Duration) -> String {
        let mut line = format!("{title}: {}", self.so_far());
        if let Some(total) = self.total.filter(|_| self.done > 0) {
            let share = self.done as f64 / total as f64;
            let left = took.as_secs_f64() * total.saturating_sub(self.done) as f64 / self.done as f64;
            let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
            let _ = write!(line, " ({:.0} %), {} left", 100.0 * share, units::duration(left));
        }
        self.with_word(line)
    }

    fn end(&self, title: &str, took: Duration) -> String {
        let stopped = self.total.is_some_and(|total| self.done < total);
        let what = match self.done {
            _ if stopped => format!("stopped, {}", self.so_far()),
            0 => "done".into(),
            done => format!("done, {}", self.amount(done)),
        };
        self.with_word(format!("{title}: {what} in {}", units::duration(took)))
    }

    fn with_word(&self, line: String) -> String {
        if self.said.is_empty() { line } else { format!("{line}; {}", self.said) }
    }

    fn so_far(&self) -> String {
        match self.total {
            Some(total) => format!("{} of {}", self.amount(self.done), self.amount(total)),
            None => self.amount(self.done),
        }
    }

    fn amount(&self, n: u64) -> String {
        match self.unit {
            Unit::Bytes => units::bytes(n),
            Unit::Count => units::count(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Lines of a run in which `work` moves the clock, in seconds.
    fn lines(work: impl FnOnce(&dyn Progress, &AtomicU64)) -> Vec<String> {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = {
            let seconds = Arc::clone(&seconds);
            move || Duration::from_secs(seconds.load(Ordering::Relaxed))
        };
        let progress = Lines::new(Vec::new(), clock);
        work(&progress, &seconds);
        let written = progress.sink.lock().unwrap().clone();
        String::from_utf8(written).unwrap().lines().map(str::to_string).collect()
    }

    #[test]
    fn a_long_task_says_something_every_ten_seconds() {
        let found = lines(|progress, seconds| {
            let task = progress.begin("training", Some(80), Unit::Count);
            for step in 1..=80 {
                seconds.store(step / 2, Ordering::Relaxed);
                task.say(&format!("loss {:.1}", 4.0 - step as f64 / 40.0));
                task.advance(1);
            }
        });
        assert_eq!(
            found,
            [
                "training: 80 to do",
                "training: 20 of 80 (25 %), 30 s left; loss 3.5",
                "training: 40 of 80 (50 %), 20 s left; loss 3.0",
                "training: 60 of 80 (75 %), 10 s left; loss 2.5",
                "training: done, 80 in 40 s; loss 2.0",
            ]
        );
    }

    #[test]
    fn a_task_that_never_ends_is_told_as_well_as_any_other() {
        let found = lines(|progress, seconds| {
            let task = progress.begin("training", Some(u64::MAX), Unit::Count);
            seconds.store(60, Ordering::Relaxed);
            task.advance(1);
        });
        let middle = "training: 1 of 18,446,744,073,709,551,615 (0 %), ";
        assert!(found[1].starts_with(middle) && found[1].ends_with(" left"), "{}", found[1]);
    }

    #[test]
    fn bytes_unknown_totals_and_tasks_cut_short() {
        let found = lines(|progress, seconds| {
            let task = progress.begin("fetching", Some(98_362_432), Unit::Bytes);
            task.advance(1 << 20);
            seconds.store(3, Ordering::Relaxed);
            drop(task);
            drop(progress.begin("hashing", Some(98_362_432), Unit::Bytes));
            let task = progress.begin("loading", None, Unit::Count);
            seconds.store(6, Ordering::Relaxed);
            drop(task);
            let task = progress.begin("reading", None, Unit::Count);
            seconds.store(17, Ordering::Relaxed);
            task.advance(1500);
            progress.note("a warning\u{1b}[2J");
        });
        assert_eq!(
            found,
            [
                "fetching: 93.8 MiB to do",
                "fetching: stopped, 1.0 MiB of 93.8 MiB in 3.0 s",
                "hashing: 93.8 MiB to do",
                "loading: begun",
                "loading: done in 3.0 s",
                "reading: begun",
                "reading: 1,500",
                "a warning\\u{1b}[2J",
                "reading: done, 1,500 in 11 s",
            ]
        );
    }
}
