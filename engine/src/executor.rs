//! Runs stages on threads: min(stages, cores) of them, pinned, several stages on one where cores are few.
//!
//! A thread polls its stages from the end of the pipeline to its beginning, so that what is nearly done leaves first. When a whole round
//! did nothing it spins about a hundred times, yields a few times, and parks until a sender rings (see [`crate::channel`]). Only
//! where asked for does it spin for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::channel::Bell;
use crate::clock::Clock;
use crate::stage::{Poll, Stage, StageCounters, add};

/// Rounds without work before yielding.
const SPIN_ROUNDS: u32 = 100;
/// Rounds of yielding before parking.
const YIELD_ROUNDS: u32 = 10;

/// One thread to be started.
pub struct ThreadPlan {
    /// Its name.
    pub name: String,
    /// The core that it is tied to.
    pub core: Option<usize>,
    /// Rung by whoever sends to its stages.
    pub bell: Arc<Bell>,
    /// Its stages, the end of the pipeline first.
    pub stages: Vec<Box<dyn Stage>>,
}

/// Running threads.
pub struct Executor {
    stop: Arc<AtomicBool>,
    threads: Vec<(Arc<Bell>, JoinHandle<()>)>,
}

impl Executor {
    /// Starts the threads.
    pub fn start(plans: Vec<ThreadPlan>, clock: Clock, spin: bool) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut executor = Self { stop, threads: Vec::new() };
        for plan in plans {
            let (stop, bell) = (executor.stop.clone(), plan.bell.clone());
            let builder = std::thread::Builder::new().name(plan.name.clone());
            let handle = builder.spawn(move || run(plan, &clock, &stop, spin))?;
            executor.threads.push((bell, handle));
        }
        Ok(executor)
    }

    /// Ends the threads; what waits in channels stays there. False when a thread had panicked.
    pub fn stop(self) -> bool {
        self.stop.store(true, Ordering::Release);
        let mut clean = true;
        for (bell, handle) in self.threads {
            bell.ring();
            clean &= handle.join().is_ok();
        }
        clean
    }

    /// Whether a thread has ended by a panic.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(|(_, handle)| handle.is_finished())
    }
}

/// When a stage was last looked at, and what it said.
#[derive(Clone, Copy)]
struct Seen {
    at_ns: u64,
    poll: Poll,
}

fn run(mut plan: ThreadPlan, clock: &Clock, stop: &AtomicBool, spin: bool) {
    plan.bell.attach();
    if let Some(core) = plan.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        tracing::warn!(thread = plan.name, core, "the thread could not be tied to its core and runs on any");
    }
    let mut seen = vec![Seen { at_ns: clock.now_ns(), poll: Poll::Idle }; plan.stages.len()];
    let mut idle_rounds = 0;
    while !stop.load(Ordering::Acquire) {
        if round(&mut plan.stages, &mut seen, clock) {
            idle_rounds = 0;
            continue;
        }
        idle_rounds += 1;
        if spin || idle_rounds <= SPIN_ROUNDS {
            std::hint::spin_loop();
        } else if idle_rounds <= SPIN_ROUNDS + YIELD_ROUNDS {
            std::thread::yield_now();
        } else {
            plan.bell.announce();
            match round(&mut plan.stages, &mut seen, clock) {
                true => plan.bell.cancel(),
                false => plan.bell.sleep(),
            }
            idle_rounds = SPIN_ROUNDS;
        }
    }
}

/// Polls every stage once; tells whether any worked.
fn round(stages: &mut [Box<dyn Stage>], seen: &mut [Seen], clock: &Clock) -> bool {
    let mut worked = false;
    let mut now_ns = clock.now_ns();
    for (stage, seen) in stages.iter_mut().zip(seen) {
        let poll = stage.poll(now_ns);
        let after_ns = clock.now_ns();
        charge(stage.counters(), *seen, now_ns, after_ns, poll);
        worked |= poll == Poll::Worked;
        *seen = Seen { at_ns: after_ns, poll };
        now_ns = after_ns;
    }
    worked
}

/// Charges a poll that worked to `busy`, and the time since a poll that did not to what it waited for.
fn charge(counters: &StageCounters, seen: Seen, before_ns: u64, after_ns: u64, poll: Poll) {
    match poll {
        Poll::Worked => add(&counters.busy_ns, after_ns - before_ns),
        Poll::Idle => add(&counters.waiting_input_ns, after_ns - before_ns),
        Poll::Blocked => add(&counters.waiting_output_ns, after_ns - before_ns),
    }
    match seen.poll {
        Poll::Worked => {}
        Poll::Idle => add(&counters.waiting_input_ns, before_ns - seen.at_ns),
        Poll::Blocked => add(&counters.waiting_output_ns, before_ns - seen.at_ns),
    }
}
