//! What the measurements of a server mean for the settings.

use super::measured::{Clock, Encryption, Measured, Memory, format_bytes};
use millpond::advice::{Deployment, Finding, Severity};

/// Clocks that differ by more are reported.
const SKEW_MAX: f64 = 1.0;

/// Compares the server's limits, and what others have open, with the connections of all replicas.
pub fn limits(deployment: &Deployment, measured: &Measured) -> Vec<Finding> {
    let mut findings: Vec<_> =
        measured.limits.iter().map(|limit| deployment.compare(limit)).collect();
    let others = measured.open.unwrap_or(0).saturating_sub(measured.own);
    // The first limit is that of the whole server, which is what was counted.
    let Some(limit) = measured.limits.first().filter(|_| others > 0) else { return findings };
    let (total, available) = (deployment.connections(), limit.available());
    if total <= available && total.saturating_add(others) > available {
        let message = format!(
            "{deployment} beside the {others} that others have open now, but {} leaves {available}",
            limit.name
        );
        let help = "if those others are not replicas of this service, lower the pool or raise the \
            server's limit";
        findings.push(Finding::new(Severity::Warning, deployment.about, message, help));
    }
    findings
}

/// Returns what all connections need at the server.
pub fn memory(deployment: &Deployment, memory: Option<&Memory>) -> Option<Finding> {
    let bytes = memory?.bytes;
    let all = format_bytes(bytes.saturating_mul(deployment.connections()));
    let message = format!("{deployment} of {} each: {all} at the server", format_bytes(bytes));
    Some(Finding::new(Severity::Note, deployment.about, message, ""))
}

/// Reports a connection to another machine that others on the network can read, or could read if
/// the server had no TLS.
pub fn encryption(
    setting: &'static str,
    encryption: &Encryption,
    is_local: bool,
    may_fall_back: bool,
    help: &str,
) -> Option<Finding> {
    let message = match encryption {
        Encryption::Off => "the connection is not encrypted, and its server is another machine",
        Encryption::On(_) if may_fall_back => {
            "the connection is encrypted, and would not be if the server, or somebody between, \
             refused TLS"
        }
        Encryption::On(_) | Encryption::Unknown => return None,
    };
    (!is_local).then(|| Finding::new(Severity::Warning, setting, message, help))
}

/// Reports a clock that differs from this machine's.
pub fn clock(clock: Option<Clock>) -> Option<Finding> {
    let clock = clock.filter(|clock| clock.skew() > SKEW_MAX)?;
    let (seconds, direction) =
        (clock.ahead.abs(), if clock.ahead > 0.0 { "ahead of" } else { "behind" });
    let message = format!("the server's clock is {seconds:.1} s {direction} this machine's");
    let help = "run a time service (NTP) on both: times in rows, tokens and rate limits disagree";
    Some(Finding::new(Severity::Warning, "clock", message, help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond::PoolConfig;
    use millpond::advice::ServerLimit;

    #[test]
    fn what_others_have_open_counts() {
        let deployment = Deployment::of_pool(&PoolConfig::default(), 1);
        let limits_of = |open| {
            let accepted = vec![ServerLimit::new("max_connections", 100)];
            let measured = Measured { limits: accepted, open, own: 2, ..Measured::default() };
            limits(&deployment, &measured)
        };
        assert_eq!(limits_of(Some(72)).len(), 1);
        let findings = limits_of(Some(73));
        assert_eq!(findings[1].severity, Severity::Warning);
        assert!(findings[1].message.contains("the 71 that others have open"), "{findings:?}");
        assert_eq!(limits_of(None).len(), 1);
    }

    #[test]
    fn only_an_open_network_without_tls_is_reported() {
        let found = |is: &Encryption, is_local, may_fall_back| {
            encryption("cache.url", is, is_local, may_fall_back, "use TLS").is_some()
        };
        let on = Encryption::On("TLSv1.3".to_owned());
        assert!(found(&Encryption::Off, false, false) && !found(&Encryption::Off, true, false));
        assert!(!found(&Encryption::Unknown, false, true));
        assert!(!found(&on, false, false) && !found(&on, true, true) && found(&on, false, true));
    }

    #[test]
    fn a_clock_that_is_far_off_is_reported() {
        assert_eq!(clock(Some(Clock { ahead: 0.9, uncertainty: 0.0 })), None);
        assert_eq!(clock(Some(Clock { ahead: 3.0, uncertainty: 2.5 })), None);
        let found = clock(Some(Clock { ahead: -61.0, uncertainty: 0.1 })).unwrap();
        assert_eq!(found.message, "the server's clock is 61.0 s behind this machine's");
    }
}
