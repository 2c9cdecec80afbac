//! Starts, watches and ends every process that the servers need.
//!
//! A child gets a signal when the *thread* that started it ends, so one thread that lives as long
//! as the servers starts them all.
//!
//! # Invariants
//!
//! 1. A child gets a signal only while it is not reaped, so its id cannot belong to another process
//!    by then.
//! 2. Once stopping, no child is left behind: one that was being started is ended by the thread
//!    that started it.

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

/// How long one server may take to answer, and one helper to prepare it. A machine may be compiling
/// beside us.
pub const START_MAX: Duration = Duration::from_secs(60);

/// How long a server may take to end in order before it is killed.
const STOP_MAX: Duration = Duration::from_secs(5);

/// The error of a step that the end of everything cut short.
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
    launch: Process,
    child: Child,
}

impl Children {
    /// No children yet, but the thread that will start them.
    pub fn new() -> Result<Self, String> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let start_each = move || {
            for Order { mut command, reply } in inbox {
                // The receiver waits at the other end.
                let _ = reply.send(command.spawn());
            }
        };
        let builder = thread::Builder::new().name("starts servers".to_owned());
        builder.spawn(start_each).map_err(|e| format!("could not start a thread: {e}"))?;
        Ok(Self { orders, state: Mutex::default() })
    }

    /// Starts a program and returns its id; it runs until [`Children::stop`] or until it ends by
    /// itself.
    pub fn launch(&self, launch: &Process) -> Result<u32, String> {
        let failed = |e: io::Error| format!("could not start {}: {e}", launch.program.display());
        let command = launch.command().map_err(failed)?;
        let (reply, answer) = mpsc::channel();
        self.orders.send(Order { command, reply }).map_err(|_| STOPPING)?;
        let child = answer.recv().map_err(|_| STOPPING)?.map_err(failed)?;
        let pid = child.id();
        let mut running = Running { launch: launch.clone(), child };
        let mut state = self.state();
        if state.is_stopping {
            running.launch.stop = Signal::SIGKILL;
            end(&mut [running]);
            return Err(STOPPING.to_owned());
        }
        state.running.push(running);
        Ok(pid)
    }

    /// Runs a helper to its end and returns what it printed.
    pub fn run(&self, launch: &Process, limit: Duration) -> Result<String, String> {
        let (pid, name) = (self.launch(launch)?, &launch.name);
        let Some(status) = poll(limit, || self.ended(pid).transpose()).transpose()? else {
            self.end_where(|running| running.child.id() == pid);
            return Err(format!("{name} did not end within {limit:?}{}", tail(&launch.log())));
        };
        if !status.success() {
            return Err(format!("{name} failed, {status}{}", tail(&launch.log())));
        }
        std::fs::read_to_string(launch.log())
            .map_err(|e| format!("could not read the output of {name}: {e}"))
    }

    /// Waits until a server answers its probe. An error has the server's log.
    pub fn await_ready(
        &self,
        pid: u32,
        launch: &Process,
        limit: Duration,
        mut probe: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let mut last = String::new();
        let ready = poll(limit, || match self.ended(pid) {
            Ok(None) => probe().map_err(|why| last = why).ok().map(Ok),
            Ok(Some(status)) => {
                Some(Err(format!("{} ended, {status}{}", launch.name, tail(&launch.log()))))
            }
            Err(why) => Some(Err(why)),
        });
        let late = || {
            format!("{} was not ready within {limit:?}: {last}{}", launch.name, tail(&launch.log()))
        };
        ready.unwrap_or_else(|| Err(late()))
    }

    /// Ends everything whose home is in a directory.
    pub fn end_within(&self, home: &Path) {
        self.end_where(|running| running.launch.home.starts_with(home));
    }

    /// The servers that have ended by themselves since the last call, each with how.
    pub fn take_ended(&self) -> Vec<String> {
        let mut ended = Vec::new();
        let mut state = self.state();
        if state.is_stopping {
            return ended;
        }
        state.running.retain_mut(|Running { launch, child }| match child.try_wait() {
            Ok(Some(status)) => {
                // Servers are killed on purpose, and their log would not say why.
                let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
                let log = if is_killed { String::new() } else { tail(&launch.log()) };
                ended.push(format!("{} (pid {}) ended, {status}{log}", launch.name, child.id()));
                false
            }
            _ => true,
        });
        ended
    }

    /// Whether the end of everything has begun.
    pub fn is_stopping(&self) -> bool {
        self.state().is_stopping
    }

    /// Ends all of them; from now on none is started.
    pub fn stop(&self) {
        self.state().is_stopping = true;
        self.end_where(|_| true);
    }

    /// How a child has ended; it is forgotten then.
    fn ended(&self, pid: u32) -> Result<Option<ExitStatus>, String> {
        let mut state = self.state();
        let at =
            state.running.iter().position(|running| running.child.id() == pid).ok_or(STOPPING)?;
        let running = state.running.get_mut(at).ok_or(STOPPING)?;
        let status = running
            .child
            .try_wait()
            .map_err(|e| format!("could not watch {}: {e}", running.launch.name))?;
        if status.is_some() {
            state.running.remove(at);
        }
        Ok(status)
    }

    fn end_where(&self, is_meant: impl Fn(&Running) -> bool) {
        // The lock is held until they have ended, so that a second call waits for that, too.
        let mut state = self.state();
        end(&mut state.running.extract_if(.., |running| is_meant(running)).collect::<Vec<_>>());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic elsewhere the list is still what must be ended.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends each its signal, waits, and kills what still runs after [`STOP_MAX`].
fn end(children: &mut [Running]) {
    let is_alive = |running: &mut Running| matches!(running.child.try_wait(), Ok(None));
    for running in children.iter_mut() {
        if is_alive(running) {
            match running.launch.stop {
                Signal::SIGKILL => processes::kill_group(running.child.id()),
                // A server that ends in order ends its own children.
                signal => processes::signal(signal, &[running.child.id()]),
            }
        }
    }
    poll(STOP_MAX, || (!children.iter_mut().any(is_alive)).then_some(()));
    for running in children {
        if is_alive(running) {
            processes::kill_group(running.child.id());
            // It fails only for a child that has ended.
            let _ = running.child.wait();
        }
    }
}
