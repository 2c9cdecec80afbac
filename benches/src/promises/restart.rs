//! The cost of a kill -9 of the server: the time until a query succeeds again, and the slots that
//! are left.

use super::postgres::{Bb8, Contender, Deadpool, Mobc};
use super::{begin, print_result};
use sqlx::{Connection, PgConnection};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);

/// The number of connections of each pool.
const PLACES: u32 = 10;

/// The time after which a pool is given up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run() {
    begin(
        "Recovery after kill -9",
        "64 tasks on 10 connections each select a number of their own from PostgreSQL, which is \
         killed and started again. How long after it accepts connections is a query answered (the \
         median of three runs), how many answers were wrong, and how many of 10 connections can be \
         used at once afterwards?",
        "at once, 0 wrong, 10 of 10",
    );
    one::<millpond_postgres::PgPool>().await;
    one::<Deadpool>().await;
    one::<Bb8>().await;
    one::<Mobc>().await;
    one::<sqlx::PgPool>().await;
}

async fn one<C: Contender + 'static>() {
    let Some(mut server) = Private::start() else {
        return eprintln!("SKIP {}: no server of its own can be started", C::NAME);
    };
    let mut rounds = Vec::new();
    let (mut wrong, mut places) = (0, usize::MAX);
    for _ in 0..3 {
        let outcome = LocalSet::new().run_until(round::<C>(&mut server)).await;
        rounds.push(outcome.took);
        wrong += outcome.wrong;
        places = places.min(outcome.places);
    }
    rounds.sort();
    let took = rounds.get(1).map_or(0, Duration::as_millis);
    print_result(C::NAME, &format!("{took} ms, {wrong} wrong, {places} of {PLACES}"));
}

struct Outcome {
    took: Duration,
    wrong: u32,
    places: usize,
}

/// Runs one kill.
async fn round<C: Contender + 'static>(server: &mut Private) -> Outcome {
    let pool = Rc::new(C::open(server.url(), PLACES).await);
    let (right, wrong, working) =
        (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0)), Rc::new(Cell::new(true)));
    let mut tasks = JoinSet::new();
    for task in 0..64_u64 {
        let (pool, right, wrong, working) =
            (Rc::clone(&pool), Rc::clone(&right), Rc::clone(&wrong), Rc::clone(&working));
        tasks.spawn_local(async move {
            let mut number = task * 1_000_000;
            while working.get() {
                number += 1;
                match timeout(PATIENCE, pool.ask(&format!("SELECT '{number}'"))).await {
                    Ok(Some(answer)) if answer == number.to_string() => right.set(right.get() + 1),
                    Ok(Some(_)) => wrong.set(wrong.get() + 1),
                    Ok(None) | Err(_) => sleep(5 * MS).await,
                }
            }
        });
    }
    while right.get() < 500 {
        sleep(MS).await;
    }
    server.kill();
    server.start_again().await;
    let (back, before) = (Instant::now(), right.get());
    while right.get() == before && back.elapsed() < PATIENCE {
        sleep(MS).await;
    }
    let took = back.elapsed();
    working.set(false);
    while tasks.join_next().await.is_some() {}
    Outcome { took, wrong: wrong.get(), places: places(&pool).await }
}

/// Returns on how many connections queries can run at the same time.
async fn places<C: Contender + 'static>(pool: &Rc<C>) -> usize {
    let mut askers = JoinSet::new();
    for _ in 0..PLACES {
        let pool = Rc::clone(pool);
        askers.spawn_local(async move {
            timeout(PATIENCE, pool.ask("SELECT pg_backend_pid()::text FROM pg_sleep(0.5)"))
                .await
                .ok()
                .flatten()
        });
    }
    let mut seen = HashSet::new();
    while let Some(answer) = askers.join_next().await {
        seen.extend(answer.ok().flatten());
    }
    seen.len()
}

/// A PostgreSQL server of this program.
struct Private {
    xtask: Child,
    variables: HashMap<String, String>,
    /// The server's process, once it was started again.
    again: Option<Child>,
}

impl Private {
    fn start() -> Option<Self> {
        let mut command = Command::new(env::var_os("MILLPOND_TEST_XTASK")?);
        command
            .args(["servers", "--private", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut xtask = command.spawn().ok()?;
        let lines = BufReader::new(xtask.stdout.take()?).lines().map_while(Result::ok);
        let lines = lines.take_while(|line| !line.is_empty());
        let variables = lines.filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('\'').replace(r"'\''", "'")))
        });
        let variables: HashMap<_, _> = variables.collect();
        Some(Self { xtask, variables, again: None }).filter(|server| !server.url().is_empty())
    }

    fn own(&self, name: &str) -> &str {
        self.variables.get(&format!("MILLPOND_TEST_POSTGRES_{name}")).map_or("", String::as_str)
    }

    fn url(&self) -> &str {
        self.own("URL")
    }

    fn kill(&mut self) {
        match &mut self.again {
            Some(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            None => {
                let _ = Command::new("kill").args(["-KILL", self.own("PID")]).status();
            }
        }
    }

    /// Starts the server on the same port and data, and waits until it accepts connections.
    async fn start_again(&mut self) {
        let command = format!("exec {} 2>>{}", self.own("COMMAND"), self.own("LOG"));
        self.again = None;
        while PgConnection::connect(self.url()).await.is_err() {
            // The remains of the killed server may hold the data for a moment; then the new one
            // does not start.
            if self.again.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                sleep(20 * MS).await;
                self.again =
                    Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).spawn().ok();
            }
            sleep(MS).await;
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(child) = &mut self.again {
            let _ = child.kill();
            let _ = child.wait();
        }
        drop(self.xtask.stdin.take());
        let _ = self.xtask.wait();
    }
}
