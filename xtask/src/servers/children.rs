//! Starts, monitors and ends the processes of the servers.
//!
//! A child gets a signal when the *thread* that started it ends, so all are started by one thread
//! that runs as long as the servers.
//!
//! # Invariants
//!
//! 1. A child gets a signal only before it is reaped, while its id cannot belong to another
//!    process.
//! 2. After `stop` no child is left: one that is being started at that time is ended by `start`.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Process, tail};
use super::processes::{self, poll};

/// The time limit of a server to answer, and of a helper to prepare it, on a busy machine.
pub const START_MAX: Duration = Duration::from_secs(60);

/// The time after which a server that was asked to end is killed.
const STOP_MAX: Duration = Duration::from_secs(5);

/// The error of a step that was interrupted by `stop`.
const STOPPING: &str = "interrupted";

/// The processes of one start.
#[derive(Debug)]
pub struct Children {
    orders: Sender<Order>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Order {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

#[derive(Debug, Default)]
struct State {
    is_stopping: bool,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    child: Child,
}

impl Children {
    /// Starts the thread that starts the children.
    pub fn new() -> Result<Self, String> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let start_each = move || {
            for Order { mut command, reply } in inbox {
                // The receiver is waiting.
                let _ = reply.send(command.spawn());
            }
        };
        let builder = thread::Builder::new().name("starts servers".to_owned());
        builder.spawn(start_each).map_err(|e| format!("could not start a thread: {e}"))?;
        Ok(Self { orders, state: Mutex::default() })
    }

    /// Starts a program, which runs until it ends or until [`Children::stop`], and returns its id.
    pub fn start(&self, process: &Process) -> Result<u32, String> {
        let failed = |e: io::Error| format!("could not start {}: {e}", process.program.display());
        let command = process.command().map_err(failed)?;
        let (reply, answer) = mpsc::channel();
        self.orders.send(Order { command, reply }).map_err(|_| STOPPING)?;
        let child = answer.recv().map_err(|_| STOPPING)?.map_err(failed)?;
        let pid = child.id();
        let mut running = Running { process: process.clone(), child };
        let mut state = self.state();
        if state.is_stopping {
            running.process.stop = Signal::SIGKILL;
            end(&mut [running]);
            return Err(STOPPING.to_owned());
        }
        state.running.push(running);
        Ok(pid)
    }

    /// Runs a helper until it ends and returns its output.
    pub fn run(&self, process: &Process, limit: Duration) -> Result<String, String> {
        let (pid, name) = (self.start(process)?, &process.name);
        let Some(status) = poll(limit, || self.ended(pid).transpose()).transpose()? else {
            self.end_where(|running| running.child.id() == pid);
            return Err(format!("{name} did not end within {limit:?}{}", tail(&process.log())));
        };
        if !status.success() {
            return Err(format!("{name} failed, {status}{}", tail(&process.log())));
        }
        std::fs::read_to_string(process.log())
            .map_err(|e| format!("could not read the output of {name}: {e}"))
    }

    /// Waits until the probe of a server succeeds. An error includes the end of the server's log.
    pub fn await_ready(
        &self,
        pid: u32,
        process: &Process,
        limit: Duration,
        mut probe: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let mut last = String::new();
        let ready = poll(limit, || match self.ended(pid) {
            Ok(None) => probe().map_err(|why| last = why).ok().map(Ok),
            Ok(Some(status)) => {
                Some(Err(format!("{} ended, {status}{}", process.name, tail(&process.log()))))
            }
            Err(why) => Some(Err(why)),
        });
        let late = || {
            format!(
                "{} was not ready within {limit:?}: {last}{}",
                process.name,
                tail(&process.log())
            )
        };
        ready.unwrap_or_else(|| Err(late()))
    }

    /// Ends the processes whose working directory is within this one.
    pub fn end_within(&self, home: &Path) {
        self.end_where(|running| running.process.home.starts_with(home));
    }

    /// Returns a message for each server that has ended by itself since the last call.
    pub fn take_ended(&self) -> Vec<String> {
        let mut ended = Vec::new();
        let mut state = self.state();
        if state.is_stopping {
            return ended;
        }
        state.running.retain_mut(|Running { process, child }| match child.try_wait() {
            Ok(Some(status)) => {
                // Tests kill servers on purpose, and the log of such a server has no reason.
                let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
                let log = if is_killed { String::new() } else { tail(&process.log()) };
                ended.push(format!("{} (pid {}) ended, {status}{log}", process.name, child.id()));
                false
            }
            _ => true,
        });
        ended
    }

    /// Returns true once `stop` was called.
    pub fn is_stopping(&self) -> bool {
        self.state().is_stopping
    }

    /// Ends all processes; from now on none is started.
    pub fn stop(&self) {
        self.state().is_stopping = true;
        self.end_where(|_| true);
    }

    /// Returns the status of a child that has ended, and removes it.
    fn ended(&self, pid: u32) -> Result<Option<ExitStatus>, String> {
        let mut state = self.state();
        let at =
            state.running.iter().position(|running| running.child.id() == pid).ok_or(STOPPING)?;
        let running = state.running.get_mut(at).ok_or(STOPPING)?;
        let status = running
            .child
            .try_wait()
            .map_err(|e| format!("could not watch {}: {e}", running.process.name))?;
        if status.is_some() {
            state.running.remove(at);
        }
        Ok(status)
    }

    fn end_where(&self, is_selected: impl Fn(&Running) -> bool) {
        // The lock is held until they have ended, so that a second call waits for that as well.
        let mut state = self.state();
        end(&mut state.running.extract_if(.., |running| is_selected(running)).collect::<Vec<_>>());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic in another thread the list is still valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends each process its signal, waits, and kills those that still run after [`STOP_MAX`].
fn end(children: &mut [Running]) {
    let is_alive = |running: &mut Running| matches!(running.child.try_wait(), Ok(None));
    for running in children.iter_mut() {
        if is_alive(running) {
            match running.process.stop {
                Signal::SIGKILL => processes::kill_group(running.child.id()),
                // A server that ends by a signal ends its own children.
                signal => processes::signal(signal, &[running.child.id()]),
            }
        }
    }
    poll(STOP_MAX, || (!children.iter_mut().any(is_alive)).then_some(()));
    for running in children {
        if is_alive(running) {
            processes::kill_group(running.child.id());
            // Fails only for a child that has been reaped.
            let _ = running.child.wait();
        }
    }
}
