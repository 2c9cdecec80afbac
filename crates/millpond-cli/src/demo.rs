//! `millpond demo`: a real workload on an embedded database, deliberate incidents, and a final
//! check that the counts add up.

mod bank;
mod incidents;
mod report;
mod workload;

use crate::arguments::DemoArguments;
use crate::balance::Account;
use crate::interrupt::Interrupt;
use crate::observer::Tally;
use crate::scratch::Scratch;
use crate::terminal::{Screen, Tone};
use incidents::Incidents;
use millpond::{DatabaseConnection, PoolKind, PragmaHook, Settings, Status};
use report::Report;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The readers that the pool keeps; there is one writer besides.
const READERS: u32 = 4;
/// Additional readers in a burst.
const OVERFLOW: u32 = 2;
/// The time after which a holder is reported.
const LEAK_AFTER: Duration = Duration::from_millis(750);
/// The name of the database, and the names of its two pools in events.
const NAME: &str = "demo";
const WRITER_NAME: &str = "demo-writer";
const READERS_NAME: &str = "demo-reader";
/// How long the observer's counts may lag behind the pool's: events are sent after the pool's lock
/// is released.
const LAG: Duration = Duration::from_secs(1);

/// Runs the demo; returns true if all counts add up.
pub fn run(arguments: &DemoArguments) -> Result<bool, Box<dyn Error>> {
    let screen = if arguments.json { Screen::for_machines() } else { Screen::for_people() };
    let scratch = Arc::new(match &arguments.file {
        Some(path) => Scratch::kept(path)?,
        None => Scratch::temporary()?,
    });
    let runtime = tokio::runtime::Runtime::new()?;
    let balanced = runtime.block_on(run_demo(arguments, &scratch, screen));
    // SQLite's threads have closed the file by now or will within this time; then it can be
    // removed.
    runtime.shutdown_timeout(Duration::from_secs(2));
    balanced
}

async fn run_demo(
    arguments: &DemoArguments,
    scratch: &Arc<Scratch>,
    mut screen: Screen,
) -> Result<bool, Box<dyn Error>> {
    let removed_at_once = Arc::clone(scratch);
    let interrupt = Interrupt::listen(move || removed_at_once.remove())?;
    let tally = Arc::new(Tally::default());
    let db = open(scratch.file(), &tally).await?;
    print_header(&mut screen, arguments.seconds, scratch)?;
    bank::create_tables(&db).await?;

    let started = Instant::now();
    let work =
        workload::run(&db, Duration::from_secs(arguments.seconds), &interrupt, &mut screen).await?;
    screen.line(Tone::Plain, &work.to_string())?;
    let incidents = match interrupt.is_wanted() {
        true => Incidents::default(),
        false => incidents::run_incidents(&db, &tally, interrupt.clone(), &mut screen).await?,
    };
    let closing = db.close_within(Duration::from_secs(10)).await;

    let report = Report {
        work,
        incidents,
        closing,
        accounts: final_accounts(&db, &tally).await,
        took: started.elapsed(),
        interrupted: interrupt.is_wanted(),
        kept: scratch.is_kept().then(|| scratch.file().to_owned()),
        settings: db.explain().clone(),
    };
    if arguments.json {
        report.print_json()?
    } else {
        report.print(&mut screen)?
    }
    Ok(report.is_balanced())
}

/// Opens the database as a service would, with the demo's own settings and the defaults. The user's
/// settings file and environment are not read.
async fn open(file: &Path, tally: &Arc<Tally>) -> Result<DatabaseConnection, Box<dyn Error>> {
    let file = std::path::absolute(file)?;
    let Some(path) = file.to_str() else {
        return Err("the path of the database is not UTF-8".into());
    };
    let loader = Settings::loader()
        .no_file()
        .no_environment()
        .set("storage.connection_string", format!("sqlite:///{}", escaped(path)))
        .set("db.pool", PoolKind::ReadWrite)
        .set("db.pool_size", READERS)
        .set("db.leak_after", LEAK_AFTER);
    let db = DatabaseConnection::load(loader)
        .name(NAME)
        .observer(Arc::clone(tally))
        .pragma(PragmaHook::new().foreign_keys(true))
        .connect()
        .await?;
    Ok(db)
}

/// Escapes a path for a URL.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F")
}

fn print_header(screen: &mut Screen, seconds: u64, scratch: &Scratch) -> std::io::Result<()> {
    screen.line(Tone::Heading, "millpond demo: connection pools on an embedded SQLite database")?;
    screen.line(
        Tone::Plain,
        &format!(
            "  One connection writes and {READERS} read; each gets PRAGMA foreign_keys = ON from a \
             hook. For {seconds} s some tasks\n  move money between accounts while others add up \
             all of it; then incidents are caused on purpose.\n  Ctrl-C ends it early."
        ),
    )?;
    match scratch.is_kept() {
        true => screen
            .line(Tone::Plain, &format!("  The database stays in {}.", scratch.file().display())),
        false => Ok(()),
    }
}

/// Returns the final counts of both pools, once the observer has all events.
async fn final_accounts(db: &DatabaseConnection, tally: &Tally) -> Vec<Account> {
    let deadline = Instant::now() + LAG;
    loop {
        let accounts = vec![
            Account {
                title: "writer",
                status: writer_status(db),
                counts: tally.counts(WRITER_NAME),
            },
            Account {
                title: "readers",
                status: db.reader().status(),
                counts: tally.counts(READERS_NAME),
            },
        ];
        let settled = accounts.iter().flat_map(Account::checks).all(|check| check.holds);
        if settled || Instant::now() >= deadline {
            return accounts;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the status of the writer alone; `db.status()` is that of both pools.
fn writer_status(db: &DatabaseConnection) -> Status {
    db.as_sqlite().map_or_else(|| db.status(), |pool| pool.status())
}
