//! What a command does to the session of its connection, by its name.
//!
//! The commands that change a session are a closed list:
//! <https://redis.io/docs/latest/commands/?group=connection>, pub/sub and transactions. All other
//! commands leave nothing to the next borrower.

use crate::command::Command;
use std::time::Duration;

/// What a command does to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing lasting.
    None,
    /// Watches keys until the next transaction.
    Watch,
    /// Ends the watch.
    Unwatch,
    /// Selects another database.
    Select,
    /// Changes session state that only a new connection clears.
    Lasting,
    /// Blocks at the server.
    Blocks(Wait),
    /// Must not be sent; the text says what to do instead.
    Refused(&'static str),
}

/// How long a command may block at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    For(Duration),
    Forever,
}

const SUBSCRIBE: &str =
    "messages arrive outside of answers: use `subscribe` of an exclusive connection";
const TRANSACTION: &str =
    "a transaction is sent as a whole: use `transaction` of an exclusive connection";
const PROTOCOL: &str = "it changes what the server sends, which the driver would not understand";
const POOL_CLOSES: &str = "the pool closes its connections: discard the lease";

/// Returns what the command does to the session.
pub(crate) fn effect(command: &Command) -> Effect {
    match command.name() {
        "WATCH" => Effect::Watch,
        "UNWATCH" => Effect::Unwatch,
        "SELECT" => Effect::Select,
        "AUTH" | "READONLY" | "READWRITE" | "ASKING" => Effect::Lasting,
        "CLIENT" => client(command.argument(0)),
        "MULTI" | "EXEC" | "DISCARD" => Effect::Refused(TRANSACTION),
        "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE"
        | "SUNSUBSCRIBE" => Effect::Refused(SUBSCRIBE),
        "HELLO" | "RESET" | "MONITOR" | "SYNC" | "PSYNC" | "REPLCONF" => Effect::Refused(PROTOCOL),
        "QUIT" => Effect::Refused(POOL_CLOSES),
        "SCRIPT" if command.argument(0).eq_ignore_ascii_case(b"DEBUG") => Effect::Refused(PROTOCOL),
        "BLPOP" | "BRPOP" | "BRPOPLPUSH" | "BLMOVE" | "BZPOPMIN" | "BZPOPMAX" => {
            Effect::Blocks(seconds(command.args.last().map_or(&[][..], |last| last)))
        }
        "BLMPOP" | "BZMPOP" => Effect::Blocks(seconds(command.argument(0))),
        "WAIT" => Effect::Blocks(milliseconds(command.argument(1))),
        "WAITAOF" => Effect::Blocks(milliseconds(command.argument(2))),
        "XREAD" | "XREADGROUP" => stream(command),
        _ => Effect::None,
    }
}

fn client(what: &[u8]) -> Effect {
    let is = |name: &str| what.eq_ignore_ascii_case(name.as_bytes());
    let harmless = [
        "ID",
        "INFO",
        "LIST",
        "GETNAME",
        "GETREDIR",
        "TRACKINGINFO",
        "HELP",
        "KILL",
        "UNBLOCK",
        "UNPAUSE",
    ];
    if is("REPLY") {
        Effect::Refused(PROTOCOL)
    } else if is("PAUSE") || harmless.iter().any(|name| is(name)) {
        Effect::None
    } else {
        Effect::Lasting
    }
}

/// `BLOCK` may stand anywhere before `STREAMS`; groups and consumers may have any name.
fn stream(command: &Command) -> Effect {
    let mut options = command.args.iter();
    while let Some(option) = options.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"BLOCK") {
            return Effect::Blocks(milliseconds(options.next().map_or(&[][..], |limit| limit)));
        } else if is(b"STREAMS") {
            break;
        } else if is(b"GROUP") {
            options.nth(1);
        } else if is(b"COUNT") {
            options.next();
        }
    }
    Effect::None
}

/// Reads a timeout as the server does, with C's `strtold`. A command with a malformed one does not
/// block.
fn seconds(text: &[u8]) -> Wait {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let seconds = text.parse().ok().or_else(|| hexadecimal(text)).unwrap_or(f64::NAN);
    // The server rounds up to milliseconds.
    if seconds > -0.001 && seconds <= 0.0 {
        return Wait::Forever;
    }
    Wait::For(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Reads a hexadecimal number such as `0x1.8p-2`.
fn hexadecimal(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1.0, text),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let (digits, exponent) = text.split_once(['p', 'P']).unwrap_or((text, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let add = |sum: f64, digit: char| Some(sum.mul_add(16.0, f64::from(digit.to_digit(16)?)));
    let number = whole.chars().chain(part.chars()).try_fold(0.0, add)?;
    let places = i32::try_from(part.len()).ok()?.saturating_mul(4);
    Some(sign * number * 2_f64.powi(exponent.parse::<i32>().ok()?.saturating_sub(places)))
}

fn milliseconds(text: &[u8]) -> Wait {
    match std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()) {
        Some(0) => Wait::Forever,
        limit => Wait::For(Duration::from_millis(
            limit.and_then(|limit| limit.try_into().ok()).unwrap_or(0),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Effect {
        let mut words = line.split(' ');
        let command = Command::new(words.next().unwrap_or_default().to_owned());
        effect(&command.args(words))
    }

    #[test]
    fn what_outlives_its_command_is_known() {
        assert_eq!(of("watch k"), Effect::Watch);
        assert_eq!(of("SELECT 3"), Effect::Select);
        for line in
            ["CLIENT SETNAME x", "client no-evict on", "CLIENT TRACKING ON", "AUTH x", "READONLY"]
        {
            assert_eq!(of(line), Effect::Lasting, "{line}");
        }
        for line in [
            "GET k",
            "CLIENT ID",
            "CLIENT KILL ID 3",
            "EVALSHA x 0",
            "SCRIPT LOAD x",
            "FLUSHALL",
            "JSON.GET k",
        ] {
            assert_eq!(of(line), Effect::None, "{line}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        for line in [
            "CLIENT REPLY OFF",
            "MONITOR",
            "subscribe c",
            "MULTI",
            "EXEC",
            "RESET",
            "HELLO 3",
            "SCRIPT DEBUG YES",
        ] {
            assert!(matches!(of(line), Effect::Refused(_)), "{line}");
        }
    }

    #[test]
    fn how_long_a_command_waits_is_read_off_its_arguments() {
        let secs = |n| Effect::Blocks(Wait::For(Duration::from_secs(n)));
        assert_eq!(of("BLPOP a b 2"), secs(2));
        assert_eq!(of("BLMPOP 3 1 k LEFT"), secs(3));
        assert_eq!(of("BRPOP a 0"), Effect::Blocks(Wait::Forever));
        assert_eq!(of("BLPOP a x"), secs(0), "the server refuses it");
        assert_eq!(of("WAIT 1 5000"), secs(5));
        assert_eq!(of("XREAD COUNT 2 BLOCK 1000 STREAMS s $"), secs(1));
        assert_eq!(of("XREAD COUNT 2 STREAMS block $"), Effect::None);
        assert_eq!(of("XREADGROUP GROUP streams block BLOCK 2000 STREAMS s >"), secs(2));
        assert_eq!(of("XREADGROUP GROUP block block STREAMS s >"), Effect::None);
    }

    #[test]
    fn a_timeout_is_understood_in_every_spelling_that_the_server_takes() {
        let blpop = |timeout: &str| of(&format!("BLPOP k {timeout}"));
        for zero in ["0", "-0", "+0", "0.0", ".0", "0.", "0e9", "0x0", "-0X.0p7", "-0.0009", "00"] {
            assert_eq!(blpop(zero), Effect::Blocks(Wait::Forever), "{zero}");
        }
        for (text, seconds) in [
            ("0x10", 16.0),
            ("0x1p-2", 0.25),
            ("0X.8P1", 1.0),
            ("+0x1.8", 1.5),
            ("1e-2", 0.01),
            ("0.0004", 0.0004),
            ("3.", 3.0),
        ] {
            assert_eq!(
                blpop(text),
                Effect::Blocks(Wait::For(Duration::from_secs_f64(seconds))),
                "{text}"
            );
        }
        for refused in ["nan", "inf", "-1", "", "0x", "0x.", "0xg", "0x1p", "1,5"] {
            assert_eq!(blpop(refused), Effect::Blocks(Wait::For(Duration::ZERO)), "{refused:?}");
        }
        for zero in ["0", "00", "-0", "+0"] {
            assert_eq!(of(&format!("WAIT 1 {zero}")), Effect::Blocks(Wait::Forever), "{zero}");
        }
    }
}
