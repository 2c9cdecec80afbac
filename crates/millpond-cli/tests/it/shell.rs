//! `millpond completions` and `millpond man` know every subcommand.

use crate::run::Sandbox;

const COMMANDS: [&str; 8] =
    ["demo", "check", "doctor", "size", "load", "presets", "completions", "man"];

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = Sandbox::new().run(&["completions", shell]);
        ended.assert_code(0);
        for command in COMMANDS {
            assert!(ended.stdout.contains(command), "{shell}: {command}");
        }
        assert!(ended.stdout.contains("max-connections"), "{shell}");
    }
    Sandbox::new().run(&["completions", "csh"]).assert_code(2);
}

#[test]
fn the_man_page_names_every_command_and_the_exit_codes() {
    let ended = Sandbox::new().run(&["man"]);
    ended.assert_code(0);
    assert!(ended.stdout.contains(".TH millpond 1"), "{ended:?}");
    for command in COMMANDS {
        assert!(ended.stdout.contains(&format!("millpond\\-{command}(1)")), "{command}: {ended:?}");
    }
    assert!(ended.stdout.contains("Exit codes"), "{ended:?}");
}

#[test]
fn each_command_has_a_man_page_of_its_own_in_a_directory() {
    let sandbox = Sandbox::new();
    sandbox.run(&["man", "--dir", "."]).assert_code(0);
    for command in COMMANDS {
        let page = std::fs::read_to_string(sandbox.path().join(format!("millpond-{command}.1")));
        assert!(page.unwrap().contains(command), "{command}");
    }
    sandbox.run(&["man", "--dir", "missing"]).assert_code(1);
}
