//! Runs this many laps of acquire and return and nothing else, for a tool that counts instructions:
//! `valgrind --tool=callgrind target/release/laps POOL LAPS`. The difference between two numbers of
//! laps is the cost of the laps.

use benches::competitor::{Competitor, Effort, Figure, Work, filled};
use benches::entrant::Entrant;
use benches::work::runtime;
use std::env;
use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let entrant = Entrant::ALL
        .into_iter()
        .find(|entrant| args.first() == Some(&format!("{entrant:?}").to_lowercase()));
    let laps = args.get(1).and_then(|laps| laps.parse().ok()).map(Laps);
    let Some((entrant, laps)) = entrant.zip(laps) else {
        eprintln!("usage: laps millpond|observed|metered|sqlx|deadpool|bb8|mobc|r2d2|floor LAPS");
        return ExitCode::from(2);
    };
    entrant.does(&laps, &Effort::QUICK);
    ExitCode::SUCCESS
}

/// The number of laps to run.
struct Laps(u64);

impl Work for Laps {
    fn name(&self) -> String {
        "laps".to_owned()
    }

    fn run<P: Competitor>(&self, _effort: &Effort) -> Vec<Figure> {
        let laps = self.0;
        let task = async move {
            let pool = filled::<P>(10).await;
            for _ in 0..laps {
                black_box(&pool.acquire().await);
            }
        };
        runtime(1).block_on(async { tokio::spawn(task).await }).expect("a pool does not panic");
        Vec::new()
    }
}
