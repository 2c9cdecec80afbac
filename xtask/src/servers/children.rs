//! Every process that the servers need is started, watched and ended here.
//!
//! A child gets a signal when the *thread* that started it ends, so one thread that lives as long as the servers starts
//! them all.
//!
//! # Invariants
//!
//! 1. A child is signalled only while it is not reaped, so its id cannot be another's by then.
//! 2. Once stopping, no child is left behind: one that was being started is ended by the thread that started it.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGKILL;

use super::process::{Launch, tail};
use super::processes;

/// How long a server may take to end in order before it is killed.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How often we look whether a child has ended or is ready.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a step says that was cut short by the end of everything.
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
    launch: Launch,
    child: Child,
}

impl Children {
    /// None yet, but the thread that will start them.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
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

    /// Starts a program and returns its id; it runs until [`Children::stop`] or until it ends by itself.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or everything is being stopped.
    pub fn launch(&self, launch: &Launch) -> Result<u32, String> {
        let failed = |e: io::Error| format!("could not start {}: {e}", launch.program.display());
        let command = launch.command().map_err(failed)?;
        let (reply, answer) = mpsc::channel();
        self.orders.send(Order { command, reply }).map_err(|_| STOPPING)?;
        let mut child = answer.recv().map_err(|_| STOPPING)?.map_err(failed)?;
        let mut state = self.state();
        if state.is_stopping {
            end(&mut [&mut child], |_| "KILL");
            return Err(STOPPING.to_owned());
        }
        let pid = child.id();
        state.running.push(Running { launch: launch.clone(), child });
        Ok(pid)
    }

    /// Runs a helper to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails, with what it printed, or does not end in time.
    pub fn run(&self, launch: &Launch, limit: Duration) -> Result<String, String> {
        let pid = self.launch(launch)?;
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.ended(pid)? {
                Some(status) => break status,
                None if Instant::now() >= deadline => {
                    self.end_where(|running| running.child.id() == pid);
                    let log = tail(&launch.log());
                    return Err(format!("{} did not end within {limit:?}{log}", launch.name));
                }
                None => thread::sleep(LOOK_EVERY),
            }
        };
        if !status.success() {
            return Err(format!("{} failed, {status}{}", launch.name, tail(&launch.log())));
        }
        std::fs::read_to_string(launch.log()).map_err(|e| format!("could not read the output of {}: {e}", launch.name))
    }

    /// Waits until a server answers its probe.
    ///
    /// # Errors
    ///
    /// With the server's log, when it ends instead, or does not answer in time.
    pub fn await_ready(
        &self,
        pid: u32,
        launch: &Launch,
        limit: Duration,
        mut probe: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended(pid)? {
                return Err(format!("{} ended, {status}{}", launch.name, tail(&launch.log())));
            }
            let answer = probe();
            match answer {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() >= deadline => {
                    let log = tail(&launch.log());
                    return Err(format!("{} was not ready within {limit:?}: {why}{log}", launch.name));
                }
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Ends everything that lives in a directory.
    pub fn end_within(&self, home: &Path) {
        self.end_where(|running| running.launch.home.starts_with(home));
    }

    /// The servers that have ended by themselves since they were last asked for, each with how.
    pub fn take_ended(&self) -> Vec<String> {
        let mut ended = Vec::new();
        let mut state = self.state();
        if state.is_stopping {
            return ended;
        }
        state.running.retain_mut(|Running { launch, child }| match child.try_wait() {
            Ok(Some(status)) => {
                // Nobody is killed by mistake, and its log would not say why.
                let log = if status.signal() == Some(SIGKILL) { String::new() } else { tail(&launch.log()) };
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
        let at = state.running.iter().position(|running| running.child.id() == pid).ok_or(STOPPING)?;
        let running = state.running.get_mut(at).ok_or(STOPPING)?;
        let status = running.child.try_wait().map_err(|e| format!("could not watch {}: {e}", running.launch.name))?;
        if status.is_some() {
            state.running.remove(at);
        }
        Ok(status)
    }

    fn end_where(&self, is_meant: impl Fn(&Running) -> bool) {
        // The lock is held until they have ended, so that a second call waits for that, too.
        let mut state = self.state();
        let mut ending: Vec<Running> = state.running.extract_if(.., |running| is_meant(running)).collect();
        let signals: Vec<(u32, &str)> = ending.iter().map(|it| (it.child.id(), it.launch.stop)).collect();
        let signal_of = |pid| signals.iter().find(|(id, _)| *id == pid).map_or("TERM", |(_, signal)| *signal);
        end(&mut ending.iter_mut().map(|running| &mut running.child).collect::<Vec<_>>(), signal_of);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic elsewhere the list is still what must be ended.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends each child its signal (with its group if it is to be killed), waits, and kills what is still there after [`STOP_MAX`].
fn end(children: &mut [&mut Child], signal_of: impl Fn(u32) -> &'static str) {
    for signal in ["INT", "TERM", "KILL"] {
        let meant = children.iter_mut().filter(|child| signal_of(child.id()) == signal);
        let alive: Vec<u32> = meant.filter_map(|child| is_alive(child).then(|| child.id())).collect();
        match signal {
            "KILL" => processes::signal_groups(signal, &alive),
            // In order means that it ends its own children as it wants.
            _ => processes::signal(signal, &alive),
        }
    }
    let deadline = Instant::now() + STOP_MAX;
    for child in children {
        while is_alive(child) && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
        if is_alive(child) {
            processes::signal_groups("KILL", &[child.id()]);
            // It fails only for a child that has ended.
            let _ = child.wait();
        }
    }
}

fn is_alive(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}
