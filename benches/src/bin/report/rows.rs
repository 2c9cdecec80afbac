//! The rows of the race: their titles and their order.

/// A row of the tables.
pub struct Row {
    /// The row's name in the results.
    pub name: &'static str,
    /// What is measured, with the unit and which direction is better.
    pub title: &'static str,
}

/// A group of rows.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The rows.
    pub rows: &'static [Row],
}

/// Every pool of the tables, in order. `millpond-rs` is millpond with its second Redis driver,
/// redis-rs.
pub const POOLS: [&str; 9] =
    ["millpond", "millpond-rs", "sqlx", "deadpool", "bb8", "mobc", "r2d2", "fred", "floor"];

/// All rows except the gate.
pub const GROUPS: [Group; 9] = [
    Group {
        title: "One task alone",
        rows: &[
            row("uncontended", "acquire and return, one core; ns, less is better"),
            row("uncontended_coop", "the same with `consume_budget` in the loop; ns"),
            row("uncontended_core2", "the same loop as the first, a runtime of two workers; ns"),
            row("uncontended_observed", "as the first, with an observer that counts; ns"),
            row("uncontended_core2_observed", "as the third, with an observer that counts; ns"),
            row(
                "uncontended_metrics",
                "as the first, with metrics reported to a Prometheus recorder in batches; ns",
            ),
            row("uncontended_core2_metrics", "as the third, with metrics; ns"),
        ],
    },
    Group {
        title: "Many tasks on ten connections",
        rows: &[
            row("threads2", "two tasks on two workers, no hold; ops/s, more is better"),
            row("hold64", "64 tasks hold over a yield, two cores; ops/s"),
            row("hold256", "256 tasks hold over a yield, two cores; ops/s"),
            row("hold64_core1", "64 tasks, one core; ops/s"),
            row("hold256_core1", "256 tasks, one core; ops/s"),
        ],
    },
    Group {
        title: "How long they wait",
        rows: &[
            row("hold64_p50", "64 tasks, half wait less; us, less is better"),
            row("hold64_p99", "64 tasks, one in 100 waits longer; us"),
            row("hold64_p999", "64 tasks, one in 1000 waits longer; us"),
            row("hold64_longest", "64 tasks, the longest wait of a round; us"),
            row("hold256_p50", "256 tasks, half wait less; us"),
            row("hold256_p99", "256 tasks, one in 100 waits longer; us"),
            row("hold256_p999", "256 tasks, one in 1000 waits longer; us"),
            row("hold256_longest", "256 tasks, the longest wait of a round; us"),
            row("hold64_core1_p999", "64 tasks, one core, one in 1000 waits longer; us"),
            row("hold256_core1_p999", "256 tasks, one core, one in 1000 waits longer; us"),
            row("fairness64", "64 tasks, most to least served; 1 is fair"),
            row("fairness256", "256 tasks, most to least served; 1 is fair"),
            row("fairness64_core1", "64 tasks, one core, most to least served"),
            row("fairness256_core1", "256 tasks, one core, most to least served"),
        ],
    },
    Group {
        title: "Growth",
        rows: &[
            row(
                "growth_size",
                "acquire and return with 10,000 idle, in times that with 10; 1 is none",
            ),
            row("size10000", "acquire and return with 10,000 idle; ns"),
            row(
                "growth_waiters",
                "joining and leaving behind 100,000 waiters, in times that behind 10",
            ),
            row("join_and_leave", "joining and leaving behind 100,000 waiters; ns"),
            row("growth_served", "serving the oldest of 100,000 waiters, in times that of 10"),
            row("cancel_waiter", "cancelling one of 100,000 waiters; ns, less is better"),
            row("cancel_waiter_of_10", "cancelling one of 10 waiters; ns"),
        ],
    },
    Group {
        title: "Memory",
        rows: &[
            row("allocs_uncontended", "allocations of an acquire and its return"),
            row("allocs_wait", "allocations of an acquire that waits, and its return"),
            row("allocs_uncontended_observed", "as the first, with an observer that counts"),
            row("allocs_wait_observed", "as the second, with an observer that counts"),
            row("allocs_uncontended_metrics", "as the first, with metrics"),
            row("allocs_wait_metrics", "as the second, with metrics"),
            row("bytes_idle", "bytes of an idle place, its connection of 24 included"),
            row("bytes_waiter", "bytes of a waiter, its future included"),
            row("cancelled_left", "bytes left by a million cancelled acquires (100,000 if quick)"),
        ],
    },
    Group {
        title: "HikariCP's spike: 50 requests on 5 idle, connecting takes 150 ms, a query 2 ms",
        rows: &[
            row("spike", "connections open at the end; less is better"),
            row("spike_time", "until all are served; ms"),
            row("spike_one", "connections open at the end with `max_connecting = 1`"),
            row("spike_one_time", "until all are served with `max_connecting = 1`; ms"),
        ],
    },
    Group {
        title: "End to end: small questions to a real database, ten connections, two cores that \
            the server shares",
        rows: &[
            row(
                "pg_select64",
                "PostgreSQL, `SELECT 1`, 64 tasks on the pool; ops/s, more is better",
            ),
            row(
                "pg_select10",
                "the same with 10 tasks; the floor is ten tasks that each own a connection; ops/s",
            ),
            row("pg_raw64", "64 tasks whose helper takes `&mut PgConnection`; ops/s"),
            row("sqlite_read64", "SQLite in a file, one row by its key, 64 tasks; ops/s"),
        ],
    },
    Group {
        title: "Redis: `GET` of a small value, ten connections, two cores that the server shares",
        rows: &[
            row(
                "redis_get64",
                "64 tasks, each with a connection for itself meanwhile; fred's `ExclusivePool`; \
                 ops/s, more is better",
            ),
            row(
                "redis_get64_p999",
                "one in 1000 takes longer, the wait for a connection included; us, less is better",
            ),
            row("redis_get10", "the same with 10 tasks; ops/s"),
            row("redis_get10_p999", "one in 1000 takes longer; us"),
            row("redis_shared64", "64 tasks that share the connections; fred's `Pool`; ops/s"),
            row("redis_shared64_p999", "one in 1000 takes longer; us"),
        ],
    },
    Group {
        title: "Weight",
        rows: &[
            row("crates", "crates in the tree, itself included"),
            row("compile", "clean build, unoptimised; s"),
        ],
    },
];

const fn row(name: &'static str, title: &'static str) -> Row {
    Row { name, title }
}
