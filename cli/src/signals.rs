//! SIGINT and SIGTERM: the first one asks to stop, a second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::error::CliError;
use crate::node::runtime;

/// The exit code of a process that a second signal ended.
pub const EXIT_INTERRUPTED: i32 = 130;

/// Listens from now on: at the first signal `on_first` is called and the flag becomes true; at the second `on_second` is called and the
/// process ends. Both are called on a thread of their own.
///
/// # Errors
/// [`CliError::System`] when the system gives no signal handler or thread.
pub fn listen(
    on_first: impl Fn() + Send + 'static,
    on_second: impl Fn() + Send + 'static,
) -> Result<Arc<AtomicBool>, CliError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let told = stopping.clone();
    let system = |source| CliError::System { action: "listen for signals", source };
    let runtime = runtime()?;
    // Registered before this returns, so that a signal during a long start is not lost.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(system)?, signal(SignalKind::terminate()).map_err(system)?)
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if told.swap(true, Ordering::SeqCst) {
                    on_second();
                    std::process::exit(EXIT_INTERRUPTED);
                }
                on_first();
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(system)?;
    Ok(stopping)
}

/// Sets `stopping` when standard input ends, which it does when the process at its other end is gone, however that came.
///
/// # Errors
/// [`CliError::System`] when the system gives no thread.
pub fn stop_with_input(stopping: Arc<AtomicBool>) -> Result<(), CliError> {
    let wait = move || {
        // Whatever comes is thrown away; an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        stopping.store(true, Ordering::SeqCst);
    };
    let spawned = std::thread::Builder::new().name("input".to_owned()).spawn(wait);
    spawned.map(drop).map_err(|source| CliError::System { action: "watch standard input", source })
}
