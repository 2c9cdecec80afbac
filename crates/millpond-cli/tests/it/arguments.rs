//! Invalid arguments exit with 2 and a hint; help and version work.

use crate::run::Sandbox;

#[test]
fn invalid_arguments_exit_with_2() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["dmeo"][..],
        &["demo", "--seconds", "0"],
        &["demo", "--seconds", "many"],
        &["demo", "--colour"],
        &["check", "millpond.toml"],
        &[],
    ] {
        let ended = sandbox.run(arguments);
        ended.assert_code(2);
        assert!(ended.stderr.contains("Usage") || ended.stderr.contains("error"), "{ended:?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn help_names_the_commands() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["--help"]);
    help.assert_code(0);
    for named in ["demo", "check", "doctor", "size", "load", "presets", "Exit codes"] {
        assert!(help.stdout.contains(named), "{named}: {help:?}");
    }
    let help = sandbox.run(&["check", "--help"]);
    assert!(help.stdout.contains("millpond check --replicas 8"), "{help:?}");
    assert!(sandbox.run(&["--version"]).stdout.starts_with("millpond "));
}

#[test]
fn a_url_that_is_one_argument_too_many_is_shown_without_its_password() {
    for arguments in [
        &["check", "postgres://a:s3cr@et@h/d"][..],
        &["doctor", "--replicas", "postgres://a:s3cret@h"],
    ] {
        let ended = Sandbox::new().run(arguments);
        ended.assert_code(2);
        assert!(ended.stderr.contains("://***@h"), "{ended:?}");
        assert!(!ended.stderr.contains("s3cr") && !ended.stderr.contains("et@"), "{ended:?}");
    }
}
