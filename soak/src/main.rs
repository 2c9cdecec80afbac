//! Run by `cargo xtask soak`: soaks each backend whose server the environment names, and prints one
//! line each.

use soak::{Report, Soak, TransactionReport, soak, transactions};
use std::env;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: soak [--postgres CUTS] [--mariadb CUTS] [--mysql CUTS] [--redis CUTS] \
     [--seed SEED] [--without-sqlx]";

/// More than any of millpond's pools needs; a soak that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(1800);

/// sqlx's pool may wait forever, so its soak ends after a minute with the results so far.
const LIMIT_OF_SQLX: Duration = Duration::from_secs(60);

/// The options of the command line.
struct Options {
    postgres: u64,
    mariadb: u64,
    mysql: u64,
    redis: u64,
    seed: u64,
    /// True to soak sqlx's own pool too, with a tenth of the cuts.
    sqlx: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            postgres: 100_000,
            mariadb: 10_000,
            mysql: 10_000,
            redis: 100_000,
            seed: fastrand::u64(..),
            sqlx: true,
        };
        while let Some(arg) = args.next() {
            let mut number = || {
                let value =
                    args.next().ok_or_else(|| format!("`{arg}` wants a number; {USAGE}"))?;
                value
                    .parse::<u64>()
                    .map_err(|_| format!("`{arg} {value}`: that is no number; {USAGE}"))
            };
            match arg.as_str() {
                "--postgres" => options.postgres = number()?,
                "--mariadb" => options.mariadb = number()?,
                "--mysql" => options.mysql = number()?,
                "--redis" => options.redis = number()?,
                "--seed" => options.seed = number()?,
                "--without-sqlx" => options.sqlx = false,
                _ => return Err(format!("there is no option `{arg}`; {USAGE}")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("soak: {why}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("soak: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Drivers panic in sqlx's pool; the panics are counted, not printed.
    std::panic::set_hook(Box::new(|_| {}));
    match runtime.block_on(run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("soak: violated; again with `cargo xtask soak --seed {}`", options.seed);
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("soak: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all soaks; returns true if millpond's pools passed.
async fn run(options: &Options) -> Result<bool, String> {
    println!("seed {}", options.seed);
    let ours = |cuts| Soak { cuts, seed: options.seed, limit: LIMIT };
    let theirs = |cuts| Soak { cuts: cuts / 10, seed: options.seed, limit: LIMIT_OF_SQLX };
    let mut is_clean = true;
    if options.postgres > 0 {
        let (url, address) = server("POSTGRES")?;
        is_clean &=
            print_report(&soak(ours(options.postgres), &url, &address, soak::postgres).await?);
        is_clean &= print_transactions(
            &transactions(ours(options.postgres), &url, &address, soak::postgres).await?,
        );
        if options.sqlx {
            print_report(
                &soak(theirs(options.postgres), &url, &address, soak::postgres_by_sqlx).await?,
            );
            print_transactions(
                &transactions(theirs(options.postgres), &url, &address, soak::postgres_by_sqlx)
                    .await?,
            );
        }
    }
    for (stem, name, cuts) in
        [("MARIADB", "mariadb", options.mariadb), ("MYSQL", "mysql", options.mysql)]
    {
        if cuts == 0 {
            continue;
        }
        let (url, address) = server(stem)?;
        let report = soak(ours(cuts), &url, &address, soak::mysql).await?;
        is_clean &= print_report(&Report { name, ..report });
        let report = transactions(ours(cuts), &url, &address, soak::mysql).await?;
        is_clean &= print_transactions(&TransactionReport { name, ..report });
        if options.sqlx {
            println!("{name}:");
            print_report(&soak(theirs(cuts), &url, &address, soak::mysql_by_sqlx).await?);
            print_transactions(
                &transactions(theirs(cuts), &url, &address, soak::mysql_by_sqlx).await?,
            );
        }
    }
    if options.redis > 0 {
        let (url, address) = server("REDIS")?;
        is_clean &= print_report(&soak(ours(options.redis), &url, &address, soak::redis).await?);
        is_clean &= print_report(
            &soak(ours(options.redis), &url, &address, soak::redis_by_redis_rs).await?,
        );
    }
    Ok(is_clean)
}

fn print_report(report: &Report) -> bool {
    println!("{report}");
    report.is_clean()
}

fn print_transactions(report: &TransactionReport) -> bool {
    println!("{report}");
    report.is_clean()
}

/// Returns the URL and the address of a server started by `cargo xtask servers`.
fn server(stem: &str) -> Result<(String, String), String> {
    let variable = |name: &str| {
        let name = format!("MILLPOND_TEST_{stem}_{name}");
        env::var(&name).map_err(|_| format!("no {name}; run it as `cargo xtask soak`"))
    };
    Ok((variable("URL")?, variable("ADDRESS")?))
}
