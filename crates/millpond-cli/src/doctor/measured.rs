//! What was measured at one server, as text and as JSON.

use crate::table::Table;
use crate::terminal::format_duration;
use millpond::advice::ServerLimit;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a connection is opened, and a ping sent; the median counts.
pub const CONNECTS: usize = 5;
pub const PINGS: usize = 25;

/// The setting that names the database.
pub const DATABASE: &str = "storage.connection_string";

/// How long a server that cannot be reached is waited for, if `pool_timeout` is longer.
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// What was measured at one server. What could not be found out is `None`.
#[derive(Debug, Default)]
pub struct Measured {
    /// The setting that names the server.
    pub setting: &'static str,
    /// Its kind and version.
    pub server: String,
    /// The median time to open a connection as the pool does it, hooks included.
    pub connect: Option<Duration>,
    /// The median time of a TCP connect to the same address; part of `connect`.
    pub tcp: Option<Duration>,
    /// The median time of a TLS handshake by itself; part of `connect`.
    pub tls: Option<Duration>,
    /// The median time of one round trip.
    pub ping: Option<Duration>,
    /// What one connection needs at the server.
    pub server_memory: Option<Memory>,
    /// What one connection may cache at most.
    pub cache: Option<Memory>,
    /// What one connection needs in this process.
    pub client_memory: Option<Memory>,
    pub encryption: Encryption,
    /// The server's limits on the number of connections.
    pub limits: Vec<ServerLimit>,
    /// How many connections are open at the server, those of this command included.
    pub open: Option<u64>,
    /// The most connections of the pool, and how many of them this command had open when they were
    /// counted.
    pub ceiling: u64,
    pub own: u64,
    pub clock: Option<Clock>,
}

/// Memory of one connection, and how it was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub bytes: u64,
    pub how: &'static str,
}

/// Whether the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// There is no network, or the server does not say.
    #[default]
    Unknown,
    Off,
    /// With this version and cipher, as the server names them.
    On(String),
}

/// The server's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// How many seconds the server's clock is ahead of this machine's.
    pub ahead: f64,
    /// Half a round trip: how far off that may be.
    pub uncertainty: f64,
}

impl Measured {
    /// Returns what was measured, one line each.
    pub fn table(&self) -> Table {
        let mut table = Table::default().left_aligned();
        let mut add = |name: &str, value: String, how: String| {
            table.row([format!("  {name}"), value, how]);
        };
        if let Some(connect) = self.connect {
            let how = format!("median of {CONNECTS}{}", self.parts(connect));
            add("connect", format_duration(connect), how);
        }
        if let Some(ping) = self.ping {
            add("ping", format_duration(ping), format!("median of {PINGS}"));
        }
        for (name, memory) in [
            ("memory at the server", &self.server_memory),
            ("memory here", &self.client_memory),
            ("cache", &self.cache),
        ] {
            if let Some(Memory { bytes, how }) = memory {
                add(name, format!("{} a connection", format_bytes(*bytes)), (*how).to_owned());
            }
        }
        match &self.encryption {
            Encryption::Unknown => {}
            Encryption::Off => add("TLS", "none".to_owned(), String::new()),
            Encryption::On(how) => add("TLS", how.clone(), String::new()),
        }
        for limit in &self.limits {
            let open = self.open.map(|open| format!("{open} open now")).unwrap_or_default();
            add("accepts", format!("{} connections", limit.available()), {
                let of = match limit.reserved {
                    0 => limit.name.clone(),
                    reserved => format!("{} less {reserved} reserved", limit.name),
                };
                if open.is_empty() { of } else { format!("{of}; {open}") }
            });
        }
        if self.ceiling > 0 {
            add("this pool", format!("{} connections at most", self.ceiling), String::new());
        }
        if let Some(clock) = &self.clock {
            add("clock", clock.spelt(), String::new());
        }
        table
    }

    /// Returns the parts of a connect, as far as they are known.
    fn parts(&self, connect: Duration) -> String {
        let Some(tcp) = self.tcp else { return String::new() };
        let rest = connect.saturating_sub(tcp).saturating_sub(self.tls.unwrap_or_default());
        let (tcp, rest) = (format_duration(tcp), format_duration(rest));
        match (&self.encryption, self.tls) {
            (Encryption::On(_), Some(tls)) => {
                let tls = format_duration(tls);
                format!("; TCP {tcp}, TLS handshake {tls}, certificates and login {rest}")
            }
            (Encryption::On(_), None) => format!("; TCP {tcp}, TLS and login {rest}"),
            (Encryption::Off | Encryption::Unknown, _) => format!("; TCP {tcp}, login {rest}"),
        }
    }

    /// Returns what was measured, with times in microseconds.
    pub fn to_json(&self) -> Value {
        let micros = |time: Option<Duration>| time.map(|time| time.as_nanos() as f64 / 1e3);
        let memory = |memory: &Option<Memory>| {
            memory.as_ref().map(|memory| json!({ "bytes": memory.bytes, "how": memory.how }))
        };
        let limits = self.limits.iter().map(
            |limit| json!({ "name": limit.name, "limit": limit.limit, "reserved": limit.reserved }),
        );
        json!({
            "setting": self.setting,
            "server": self.server,
            "connect_us": micros(self.connect),
            "tcp_us": micros(self.tcp),
            "tls_us": micros(self.tls),
            "ping_us": micros(self.ping),
            "server_memory": memory(&self.server_memory),
            "client_memory": memory(&self.client_memory),
            "cache": memory(&self.cache),
            "tls": match &self.encryption {
                Encryption::Unknown => Value::Null,
                Encryption::Off => Value::from(false),
                Encryption::On(how) => Value::from(how.as_str()),
            },
            "limits": limits.collect::<Value>(),
            "open": self.open,
            "ceiling": self.ceiling,
            "clock_ahead_s": self.clock.map(|clock| clock.ahead),
        })
    }
}

impl Clock {
    /// Creates a clock from the server's time, in seconds since 1970, which was asked for between
    /// `before` and `after` of this machine's.
    pub fn new(server: f64, before: f64, after: f64) -> Self {
        Self { ahead: server - (before + after) / 2.0, uncertainty: (after - before) / 2.0 }
    }

    /// Returns how many seconds the clocks differ for certain.
    pub fn skew(&self) -> f64 {
        (self.ahead.abs() - self.uncertainty).max(0.0)
    }

    fn spelt(&self) -> String {
        if self.skew() == 0.0 {
            return "agrees with this machine's".to_owned();
        }
        let direction = if self.ahead > 0.0 { "ahead of" } else { "behind" };
        let off = Duration::try_from_secs_f64(self.ahead.abs()).unwrap_or_default();
        format!("{} {direction} this machine's", format_duration(off))
    }
}

/// Returns the time of this machine's clock, in seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Returns the median; `None` of nothing.
pub fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

/// Formats a number of bytes with three digits and a unit.
pub fn format_bytes(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let bytes = bytes as f64;
    match bytes {
        ..KIB => format!("{bytes} B"),
        _ if bytes < KIB * KIB => format!("{:.0} KiB", bytes / KIB),
        _ if bytes < KIB * KIB * KIB => format!("{:.1} MiB", bytes / KIB / KIB),
        _ => format!("{:.1} GiB", bytes / KIB / KIB / KIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (2048, "2 KiB"),
            (1_572_864, "1.5 MiB"),
            (3 << 29, "1.5 GiB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        let millis = |all: &[u64]| all.iter().map(|n| Duration::from_millis(*n)).collect();
        assert_eq!(median(millis(&[9, 1, 5])), Some(Duration::from_millis(5)));
        assert_eq!(median(millis(&[])), None);
    }

    #[test]
    fn a_clock_within_half_a_round_trip_agrees() {
        let clock = Clock::new(100.5, 100.0, 101.2);
        assert_eq!(clock.skew(), 0.0);
        assert_eq!(clock.spelt(), "agrees with this machine's");
        let clock = Clock::new(90.0, 100.0, 100.2);
        assert!((clock.skew() - 10.0).abs() < 1e-6);
        assert!(clock.spelt().starts_with("10.1 s behind"), "{}", clock.spelt());
    }

    #[test]
    fn what_is_unknown_has_no_line() {
        let measured = Measured { ping: Some(Duration::from_millis(1)), ..Measured::default() };
        assert_eq!(measured.table().to_string(), "  ping  1.00 ms  median of 25");
        assert_eq!(measured.to_json()["connect_us"], Value::Null);
    }
}
